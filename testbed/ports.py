"""Free TCP ports on the loopback interface."""

import random
import socket

__all__ = ["free_port"]

# Below the range that the kernel uses for outgoing connections (32768 and up on Linux). A port in
# that range can be taken while its server restarts, even by a client that tries to connect to the
# server and connects to itself.
_PORTS = range(15000, 32000)


def free_port() -> int:
    """Return a free port of 127.0.0.1."""
    for port in random.sample(_PORTS, min(200, len(_PORTS))):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError(
        f"no free port of 127.0.0.1 from {_PORTS.start} to {_PORTS.stop - 1}: end what uses them"
    )
