"""The subcommands of `implicit-loc`, one module each."""
