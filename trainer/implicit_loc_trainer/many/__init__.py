"""Many recordings trained by one command, one after the other or spread over a cluster."""
