"""What goes wrong between a pod and the service."""

from __future__ import annotations

from collections.abc import Iterable

from lsst.resources import ResourcePath

__all__ = ["TransferError"]


class TransferError(Exception):
    """Outputs that the service may never hear of.

    To transfer the same outputs again is always right: the service takes what it has already heard
    of for what it is.

    Attributes
    ----------
    unused : `list` [`lsst.resources.ResourcePath`]
        Files that were stored, and that no event names: only these may be removed.
    in_doubt : `list` [`lsst.resources.ResourcePath`]
        Files that were stored, and that an event names which the brokers may have: the service may
        need them, or have written their datasets already.
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
        """Remove the files that no event names, if the outputs are not to be transferred again.

        Raises
        ------
        ExceptionGroup
            If some of them cannot be removed.
        """
        ResourcePath.mremove(self.unused)
        self.unused.clear()
