"""Errors of a transfer between a pod and the service."""

from __future__ import annotations

from collections.abc import Iterable

from lsst.resources import ResourcePath

__all__ = ["TransferError"]


class TransferError(Exception):
    """The service may never receive these outputs.

    It is always safe to transfer the same outputs again: the service recognises what it has already
    received.

    Attributes
    ----------
    unused : `list` [`lsst.resources.ResourcePath`]
        Stored files that no event names; only these may be removed.
    in_doubt : `list` [`lsst.resources.ResourcePath`]
        Stored files of an event that the brokers may have: the service may need them, or may have
        written their datasets already.
    """

    def __init__(
        self,
        reason: str,
        unused: Iterable[ResourcePath] = (),
        in_doubt: Iterable[ResourcePath] = (),
    ) -> None:
        super().__init__(reason)
        self.unused = list(unused)
        self.in_doubt = list(in_doubt)

    def clean_up(self) -> None:
        """Remove the files that no event names.  Use it if you do not transfer the outputs again.

        Raises
        ------
        ExceptionGroup
            If some of them cannot be removed.
        """
        ResourcePath.mremove(self.unused)
        self.unused.clear()
