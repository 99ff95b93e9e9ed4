"""Another address of a TCP server, which can hang or lead to another server."""

import socket
from contextlib import suppress
from threading import Event, Thread
from typing import Self

from .ports import free_port

__all__ = ["Link"]

_CHUNK = 65536


class _Connection:
    """A client's connection, and the one to the server that is opened for it."""

    def __init__(self, client: socket.socket, port: int, *, hangs: bool) -> None:
        self._client = client
        self._server = socket.socket()
        self._port = port
        self._flows = Event()
        if not hangs:
            self._flows.set()
        Thread(target=self._serve, daemon=True).start()

    def hang(self) -> None:
        self._flows.clear()

    def resume(self) -> None:
        self._flows.set()

    def close(self) -> None:
        for end in (self._client, self._server):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        self._flows.set()

    def _serve(self) -> None:
        self._flows.wait()
        try:
            self._server.connect(("127.0.0.1", self._port))
        except OSError:
            self.close()
            return
        Thread(target=self._forward, args=(self._server, self._client), daemon=True).start()
        self._forward(self._client, self._server)

    def _forward(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(_CHUNK):
                self._flows.wait()
                target.sendall(data)
        self.close()


class Link:
    """Another address of a server on this machine.

    Parameters
    ----------
    port
        The server's port.
    """

    def __init__(self, port: int) -> None:
        self.port = free_port()
        self._target = port
        self._hangs = False
        self._connections: list[_Connection] = []

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def hang(self) -> None:
        """Pass nothing on any more: connections stay open, and new ones are not answered."""
        self._hangs = True
        for connection in self._connections:
            connection.hang()

    def resume(self) -> None:
        """Pass on what has been held back, and everything that follows."""
        self._hangs = False
        for connection in self._connections:
            connection.resume()

    def lead_to(self, port: int) -> None:
        """Connect new clients to another server; connections that hang do so for ever."""
        self._hangs = False
        self._target = port

    def cut(self) -> None:
        """End all connections."""
        while self._connections:
            self._connections.pop().close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._connections.append(_Connection(client, self._target, hangs=self._hangs))
