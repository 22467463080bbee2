"""Entry point of `python -m bench`."""

import signal
import sys

# Like Ctrl-C, so that whatever runs is stopped in order.
for number in (signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.default_int_handler)
try:
    from bench.command import main

    status = main()
except KeyboardInterrupt:
    # Importing takes seconds, in which Ctrl-C must not end in a traceback either.
    print('bench_node: interrupted', file=sys.stderr)
    status = 130
sys.exit(status)
