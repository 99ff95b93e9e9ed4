"""The causes of dead letters."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["Cause"]


class Cause(StrEnum):
    """Why an event can never be written.

    A public contract: the header ``error_class`` of a dead letter, a label of the metric
    ``butler_writer_dead_letters_total``, and what ``dead-letters --error-class`` selects.
    """

    INVALID_EVENT = "invalid_event"
    """The message is not an event that this repository could ever take."""

    UNKNOWN_DATASET_TYPE = "unknown_dataset_type"
    """A dataset type is not registered, and the event does not bring it."""

    CONFLICT = "conflict"
    """The repository, or another event, has something else under the same id, data ID or name."""

    MISSING_FILE = "missing_file"
    """An artifact is not in the datastore (nor in the staging area)."""

    MISSING_DIMENSION_RECORD = "missing_dimension_record"
    """A data ID needs a dimension record that neither the repository nor the event has."""

    WRONG_COLLECTION = "wrong_collection"
    """A run or chain has the name of a collection of another type."""

    VALUE_REFUSED = "value_refused"
    """The database has no column for a value: a number out of range, for example."""

    CONSTRAINT = "constraint"
    """The database refused a row because of one of its constraints."""

    REFUSED_BY_BUTLER = "refused_by_butler"
    """``lsst.daf.butler`` refused the event for a reason that has no cause of its own here."""

    UNKNOWN = "unknown"
    """An error that this service does not know, while other events could be written."""

    @classmethod
    def named(cls, name: str) -> Cause | None:
        """Return the cause of a name, current or former; `None` if there is none.

        Until version 0.2, dead letters carried the names of Python classes.

        Parameters
        ----------
        name : `str`
            As in the header ``error_class``.
        """
        return {cause.value: cause for cause in cls}.get(name) or _FORMER_NAMES.get(name)


_FORMER_NAMES = {
    "CollectionTypeError": Cause.WRONG_COLLECTION,
    "ConflictingDefinitionError": Cause.CONFLICT,
    "DataError": Cause.VALUE_REFUSED,
    "FileNotFoundError": Cause.MISSING_FILE,
    "IntegrityError": Cause.CONSTRAINT,
    "InvalidEventError": Cause.INVALID_EVENT,
    "LookupError": Cause.MISSING_DIMENSION_RECORD,
    "MissingDatasetTypeError": Cause.UNKNOWN_DATASET_TYPE,
    "OverflowError": Cause.VALUE_REFUSED,
}
