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
    """The message is not a valid event, or not one that this repository can accept."""

    OVER_LIMIT = "over_limit"
    """The event has more of something than this service accepts.

    The reason names the limit and its setting.
    """

    UNDECODABLE_MESSAGE = "undecodable_message"
    """The Kafka client cannot decode the message, or the batch that it was sent in."""

    ENDS_WORKER = "ends_worker"
    """A worker that tried the event alone was killed, or hung, and did not finish it."""

    SKIPPED = "skipped"
    """An operator has set the event aside by hand, with the command ``skip``."""

    UNKNOWN_DATASET_TYPE = "unknown_dataset_type"
    """A dataset type is not registered, and the event does not define it."""

    CONFLICT = "conflict"
    """The repository or another event has another dataset, or type, with the same identity."""

    MISSING_FILE = "missing_file"
    """An artifact is neither in the datastore nor in the staging area."""

    MISSING_SOURCE_FILE = "missing_source_file"
    """Artifacts that a downstream repository is to get do not exist, or no longer.

    The other datasets of the message are written.
    """

    REMOVED_MESSAGE = "removed_message"
    """The product log has removed a message before its datasets were due (retention)."""

    MISSING_DIMENSION_RECORD = "missing_dimension_record"
    """A data ID needs a dimension record that neither the repository nor the event has."""

    WRONG_COLLECTION = "wrong_collection"
    """A run or chain has the name of a collection of another type."""

    RUN_NOT_ALLOWED = "run_not_allowed"
    """A setting does not allow the run."""

    CHAIN_NOT_ALLOWED = "chain_not_allowed"
    """The event names a chain that is not its run's, or that a setting does not allow."""

    PATH_NOT_ALLOWED = "path_not_allowed"
    """A dataset cannot be in this file: it is the repository's own, another run's, or a link."""

    ELEMENT_NOT_ALLOWED = "element_not_allowed"
    """The event brings a new record of a dimension element that operators register."""

    DATASET_TYPE_NOT_ALLOWED = "dataset_type_not_allowed"
    """The event brings more new dataset types than may be registered."""

    VALUE_REFUSED = "value_refused"
    """A value does not fit its database column, for example a number that is out of range."""

    CONSTRAINT = "constraint"
    """The database refused a row because of a constraint."""

    MISSING_RIGHT = "missing_right"
    """The database user lacks a right that only this event needs, for example to create a table."""

    LIMIT_EXCEEDED = "limit_exceeded"
    """The database ended the write each time because of a limit on time or memory.

    It took as many other rows at the same time.
    """

    REFUSED_BY_BUTLER = "refused_by_butler"
    """``lsst.daf.butler`` refused the event for another reason.

    The reason starts with the error's class.
    """

    UNKNOWN = "unknown"
    """An error that this service does not know.

    The reason starts with the error's class.
    """

    @property
    def is_harmful(self) -> bool:
        """Whether events of this cause may do harm to whatever decodes them."""
        return self in (Cause.ENDS_WORKER, Cause.SKIPPED)

    @classmethod
    def named(cls, name: str) -> Cause | None:
        """Return the cause with a name, current or former; `None` if there is none.

        Former names are those of Python classes, which dead letters had at first.

        Parameters
        ----------
        name : `str`
            A value of the header ``error_class``.
        """
        return {cause.value: cause for cause in cls}.get(name) or _FORMER_NAMES.get(name)


_FORMER_NAMES = {
    "CollectionCycleError": Cause.REFUSED_BY_BUTLER,
    "CollectionTypeError": Cause.WRONG_COLLECTION,
    "ConflictingDefinitionError": Cause.CONFLICT,
    "DataError": Cause.VALUE_REFUSED,
    "DatabaseConflictError": Cause.CONFLICT,
    "DatasetTypeNotSupportedError": Cause.REFUSED_BY_BUTLER,
    "DimensionNameError": Cause.REFUSED_BY_BUTLER,
    "FileNotFoundError": Cause.MISSING_FILE,
    "IntegrityError": Cause.CONSTRAINT,
    "InvalidEventError": Cause.INVALID_EVENT,
    "LookupError": Cause.MISSING_DIMENSION_RECORD,
    "MissingCollectionError": Cause.REFUSED_BY_BUTLER,
    "MissingDatasetTypeError": Cause.UNKNOWN_DATASET_TYPE,
    "OverflowError": Cause.VALUE_REFUSED,
}
