"""What keeps the pages from being served is named, with the option."""

from __future__ import annotations

import socket

import pytest

from app.machine import MachineError, check_port


def test_an_unknown_address_is_named() -> None:
    with pytest.raises(
        MachineError, match=r"the address nosuch\.invalid: \w.*; correct --web-bind"
    ):
        check_port("nosuch.invalid", 6066)


def test_a_port_in_use_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(MachineError, match=f"port {port} of 127.0.0.1: Address already in use"):
            check_port("127.0.0.1", port)
