"""Writes a pod's outputs into the central repository through the service."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, NoReturn, Protocol, TypeAlias

from lsst.daf.butler import Butler, DatasetRef, DimensionRecord
from lsst.resources import ResourcePath

from butler_writer_client.errors import TransferError
from butler_writer_client.event import (
    DimensionRecordFields,
    FileDatasetFields,
    PromptOutput,
    event_id_of,
)
from butler_writer_client.export import Artifact, export_artifacts
from butler_writer_client.kafka import Undelivered
from butler_writer_client.storage import open_root, why_not_there

__all__ = ["EventTopic", "Mode", "PromptOutputWriter"]


class Mode(StrEnum):
    """Where a pod stores its artifacts."""

    FINAL = "final"
    """At their final location in the central datastore."""

    STAGING = "staging"
    """In a staging area, from which the service copies them to the datastore."""

    @classmethod
    def _missing_(cls, value: object) -> NoReturn:
        raise ValueError(f"mode={value!r}: it must be Mode.FINAL or Mode.STAGING")


#: Maximum number of bytes that the field ``sent_at`` adds to a message.
_SENT_AT_SIZE = len(',"sent_at":1234567890.1234567')

_File: TypeAlias = tuple[Artifact, FileDatasetFields]
"""An artifact, and its fields in an event."""


class EventTopic(Protocol):
    """A topic to send events to, such as `KafkaTopic`."""

    @property
    def max_event_bytes(self) -> int:
        """Size of the largest event that it accepts, in bytes."""

    def send(self, values: Sequence[bytes]) -> list[Undelivered | None]:
        """Send events, and return for each of them why it was not delivered, or `None`."""


@dataclass(frozen=True, slots=True)
class _Event:
    """An event, and the artifacts to store before it is sent."""

    id: str
    output: PromptOutput
    uploads: list[tuple[ResourcePath, ResourcePath]]

    @property
    def size(self) -> int:
        """Size of the message in bytes; it does not depend on the time of sending."""
        return len(self.output.encode()) + _SENT_AT_SIZE

    def message(self) -> bytes:
        """Return the message, with the current time in ``sent_at``."""
        return self.output.model_copy(update={"sent_at": time.time()}).encode()

    @property
    def files(self) -> list[ResourcePath]:
        return [target for _, target in self.uploads]


class PromptOutputWriter:
    """Writes pods' outputs into the central repository through the service.

    It implements Prompt Processing's ``ButlerWriter`` protocol.  Several threads may use it.

    Parameters
    ----------
    topic : `EventTopic`
        Where events are sent: a `KafkaTopic`.
    root : `str`
        Where artifacts are stored, any ``lsst.resources`` URI: the root of the central datastore,
        or of the staging area.
    mode : `Mode` or `str`
        Which of the two ``root`` is; the values of `Mode` may be given as strings.
    chains : `~collections.abc.Iterable` [`str`], optional
        Names of the chains that the outputs' runs belong to; if omitted, the service derives one.
    digests : `bool`
        Whether to read each artifact for its size and checksum, and to send both.  The central
        datastore then records them, as for datasets that are put into it directly.

    Raises
    ------
    ValueError
        If ``mode`` is none of the modes, a chain's name is empty, or no such root can be used.
    TypeError
        If another argument has the wrong type, such as a single string for ``chains``.
    ModuleNotFoundError
        If a package that such a root needs is not installed; the text names the extra to install.
    """

    def __init__(
        self,
        topic: EventTopic,
        root: str,
        *,
        mode: Mode | Literal["final", "staging"] = Mode.FINAL,
        chains: Iterable[str] | None = None,
        digests: bool = False,
    ) -> None:
        if not callable(getattr(topic, "send", None)):
            raise TypeError(f"topic={topic!r}: give a KafkaTopic")
        if not isinstance(digests, bool):
            raise TypeError(f"digests={digests!r}: give True or False")
        self._digests = digests
        self._topic = topic
        self._root = open_root(root)
        self._mode = Mode(mode)
        self._chains = _names(chains)
        # Events that the brokers have or may have: their files must not be removed any more.
        self._sent: set[str] = set()

    def transfer_outputs(
        self,
        local_butler: Butler,
        dimension_records: Mapping[str, Iterable[DimensionRecord]],
        datasets: Sequence[DatasetRef],
    ) -> list[DatasetRef]:
        """Transfer outputs of a pod's own Butler.

        Returns when their artifacts are stored and the brokers have the event.

        Parameters
        ----------
        local_butler : `lsst.daf.butler.Butler`
            The pod's own Butler.
        dimension_records : `~collections.abc.Mapping` [`str`, `~collections.abc.Iterable`]
            The dimension records that the datasets need, by element.
        datasets : `~collections.abc.Sequence` [`lsst.daf.butler.DatasetRef`]
            The datasets to transfer.

        Returns
        -------
        transferred : `list` [`lsst.daf.butler.DatasetRef`]
            All of these datasets.

        Raises
        ------
        TransferError
            If the service may never receive them.
        Exception
            If they cannot be exported (see `export_artifacts`); then nothing was stored or sent.
        """
        datasets = list(datasets)  # it may be an iterator
        self.transfer(dimension_records, export_artifacts(local_butler, datasets))
        return datasets

    def transfer(
        self,
        dimension_records: Mapping[str, Iterable[DimensionRecord]],
        artifacts: Sequence[Artifact],
    ) -> None:
        """Transfer artifacts from anywhere.

        Parameters
        ----------
        dimension_records : `~collections.abc.Mapping` [`str`, `~collections.abc.Iterable`]
            The dimension records that the datasets need, by element.
        artifacts : `~collections.abc.Sequence` [`Artifact`]
            The artifacts to transfer; if there are none, no event is sent.

        Raises
        ------
        TransferError
            If the service may never receive them.
        """
        artifacts = list(artifacts)
        if not artifacts:
            return
        if reason := why_not_there(self._root):
            raise TransferError(f"nothing can be stored under root={str(self._root)!r}: {reason}")
        records = [
            DimensionRecordFields.of(record)
            for grouped in dimension_records.values()
            for record in grouped
        ]
        try:
            files = [
                (artifact, FileDatasetFields.of(artifact, digest=self._digests))
                for artifact in artifacts
            ]
        except OSError as exc:  # for its checksum
            raise TransferError(f"an artifact cannot be read: {_in_one_line(exc)}") from exc
        events = list(self._events(records, files))
        self._store(events)
        self._send(events)

    def _events(
        self, records: list[DimensionRecordFields], files: Sequence[_File]
    ) -> Iterator[_Event]:
        """Create one event, or several if it would be too large; they can be sent in any order."""
        event = self._event(records, files)
        if (size := event.size) <= self._topic.max_event_bytes:
            yield event
        elif len(files) > 1:
            middle = len(files) // 2
            yield from self._events(records, files[:middle])
            yield from self._events(records, files[middle:])
        else:
            raise TransferError(
                f"an event with only {files[0][0].path!r} has {size} bytes, "
                f"over the topic's limit of {self._topic.max_event_bytes} (max_event_bytes)"
            )

    def _event(self, records: list[DimensionRecordFields], files: Sequence[_File]) -> _Event:
        event_id = str(event_id_of(ref.id for artifact, _ in files for ref in artifact.refs))
        root, staging = self._root, None
        if self._mode is Mode.STAGING:
            # Each event has its own folder: another attempt at the same data IDs would use the same
            # paths.
            root = root.join(event_id, forceDirectory=True)
            staging = str(root)
        output = PromptOutput(
            type="pp-output",
            dimension_records=records,
            datasets=[fields for _, fields in files],
            chains=self._chains,
            event_id=event_id,
            staging=staging,
        )
        uploads = [
            (artifact.source, root.join(artifact.path, forceDirectory=False))
            for artifact, _ in files
        ]
        return _Event(event_id, output, uploads)

    def _store(self, events: Sequence[_Event]) -> None:
        """Store the artifacts of all events, before any event is sent."""
        uploads = [upload for event in events for upload in event.uploads]
        results = ResourcePath.mtransfer("copy", uploads, overwrite=True, do_raise=False)
        errors = [result.exception for result in results.values() if result.exception]
        if errors:
            reason = (
                f"{len(errors)} of {len(uploads)} artifacts cannot be stored under "
                f"root={str(self._root)!r}: {_in_one_line(errors[0])}"
            )
            stored = [file for file, result in results.items() if result.success]
            raise self._error(reason, events, stored) from errors[0]

    def _send(self, events: Sequence[_Event]) -> None:
        reports = self._topic.send([event.message() for event in events])
        failed: list[_Event] = []
        reasons: list[str] = []
        for event, undelivered in zip(events, reports, strict=True):
            if undelivered is None or undelivered.in_doubt:
                self._sent.add(event.id)
            if undelivered is not None:
                failed.append(event)
                reasons.append(undelivered.reason)
        if failed:
            reason = f"{len(failed)} of {len(events)} events were not delivered: {reasons[0]}"
            raise self._error(reason, failed, [file for event in failed for file in event.files])

    def _error(
        self, reason: str, events: Iterable[_Event], stored: Collection[ResourcePath]
    ) -> TransferError:
        known = {file for event in events if event.id in self._sent for file in event.files}
        return TransferError(
            reason,
            unused=[file for file in stored if file not in known],
            in_doubt=[file for file in stored if file in known],
        )


def _names(chains: Iterable[str] | None) -> list[str] | None:
    """Return the names of chains as a list."""
    if chains is None:
        return None
    if isinstance(chains, str):
        raise TypeError(f"chains={chains!r}: give a list of names, not one string")
    names = list(chains)
    if not all(isinstance(name, str) for name in names):
        raise TypeError(f"chains={names!r}: give names, as strings")
    if not all(names):
        raise ValueError(f"chains={names!r}: a name is empty")
    return names


def _in_one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
