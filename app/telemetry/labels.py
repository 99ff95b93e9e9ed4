"""The values of labels that are known beforehand; metrics, logs and pages share them."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["Needed", "Step"]


class Step(StrEnum):
    """The steps of a flush, with their names in metrics, logs and pages.

    A public contract: dashboards select by these values.
    """

    READ = "read"
    """Parse the events, and check their artifacts."""

    WRITE = "write"
    """Write the datasets to the Butler, in one transaction."""

    PREPEND_TO_CHAINS = "prepend_to_chains"
    """Prepend new runs to their chains."""

    SET_ASIDE = "set_aside"
    """Send events that can never be written to the dead letters."""

    ANNOUNCE = "announce"
    """Write the dataset list; send the announcement and the chain updates."""

    LOG_PRODUCTS = "log_products"
    """Send what was written to the product log, if it is on."""

    KEEP_WAITING = "keep_waiting"
    """Keep what is not due in the table of what waits; only in a downstream repository."""


class Needed(StrEnum):
    """What a worker needs to do its work.

    A public contract: the label ``dependency``.
    """

    KAFKA = "kafka"
    DATABASE = "database"
    DATASTORE = "datastore"
    """The datastores, the staging areas and the directory of the dataset lists."""

    @classmethod
    def named(cls, name: str) -> Needed:
        """Return what a name in messages means, such as ``the list directory``."""
        return _NAMES.get(name, cls.DATASTORE)


_NAMES = {
    "Kafka": Needed.KAFKA,
    "the database": Needed.DATABASE,
    "the repository": Needed.DATABASE,
}
