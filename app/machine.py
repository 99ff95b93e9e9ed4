"""Checks that this machine has what a worker needs: a port for its pages, and a data folder."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from app.butler.descriptions import describe
from app.errors import OperatorError

__all__ = ["MachineError", "check_data_directory", "check_port"]


class MachineError(OperatorError):
    """A port or a folder cannot be used."""


def check_port(address: str, port: int) -> None:
    """Check that the pages can listen on a port.

    Parameters
    ----------
    address : `str`
        The address to listen on.
    port : `int`
        The port; 0: any.

    Raises
    ------
    MachineError
        If they cannot, for example because another process does.
    """
    try:
        found = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, where in found[:1]:
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as asyncio does
                probe.bind(where)
                probe.listen()
    except socket.gaierror as exc:
        raise MachineError(
            f"the pages cannot use the address {address}: {exc.strerror}; correct --web-bind"
        ) from exc
    except (OSError, OverflowError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else describe(exc)
        raise MachineError(
            f"the pages cannot use port {port} of {address}: {reason}; end the process that uses "
            "it, or choose another port with --web-port"
        ) from exc


def check_data_directory(folder: Path) -> None:
    """Create Faust's folder if it is missing, and check that files can be written there.

    Parameters
    ----------
    folder : `pathlib.Path`
        The setting ``BUTLER_WRITER_DATA_DIRECTORY``.

    Raises
    ------
    MachineError
        If it cannot be used.
    """
    probe = folder / f".probe-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"probe")
        probe.unlink()
    except OSError as exc:
        raise MachineError(
            f"BUTLER_WRITER_DATA_DIRECTORY='{folder}' cannot be used: {exc.strerror}; name a "
            "folder that this user may create and write to"
        ) from exc
