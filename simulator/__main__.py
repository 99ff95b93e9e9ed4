"""Command line of the simulator: ``python -m simulator``."""

import sys

__all__: list[str] = []

if __name__ == "__main__":
    try:
        # It imports the Butler, which takes seconds in which a user may press Ctrl-C.
        from simulator.commands import main

        main(prog_name="python -m simulator")
    except KeyboardInterrupt:
        sys.exit(130)
