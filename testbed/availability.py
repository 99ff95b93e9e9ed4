"""The error of a server that cannot run on this machine."""

__all__ = ["ServerUnavailableError"]


class ServerUnavailableError(Exception):
    """A server cannot run on this machine; the text says what is missing, and how to get it."""
