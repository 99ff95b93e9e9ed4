"""Free TCP ports on the loopback interface."""

import random
import socket

__all__ = ["free_port"]

# Below the range that the kernel gives to outgoing connections (32768 and up on Linux). A port
# of that range can be taken while the server behind it restarts, even by a client that tries
# to reach that very server and connects to itself.
_PORTS = range(15000, 32000)


def free_port() -> int:
    """Return a port of 127.0.0.1 that nothing listens on."""
    for port in random.sample(_PORTS, 200):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError(f"no free port in {_PORTS}")
