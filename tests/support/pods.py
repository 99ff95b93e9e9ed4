"""A pod's own Butler, with the outputs of its tasks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from lsst.daf.butler import Butler, DatasetRef, DimensionRecord

from butler_writer_client import Undelivered
from models.fields import DatasetRefFields
from models.prompt_output import PromptOutput
from tests.support.events import RUN, Night
from tests.support.repositories import Repository

__all__ = ["LocalPod", "RecordingTopic"]


@dataclass
class LocalPod:
    """A pod that has processed one detector of one visit.

    Attributes
    ----------
    butler : `lsst.daf.butler.Butler`
        The pod's own Butler.
    records : `dict` [`str`, `list` [`lsst.daf.butler.DimensionRecord`]]
        The dimension records that it exports.
    outputs : `list` [`lsst.daf.butler.DatasetRef`]
        The datasets that its tasks have put.
    """

    butler: Butler
    records: dict[str, list[DimensionRecord]]
    outputs: list[DatasetRef]

    @classmethod
    def process(
        cls, repository: Repository, visit: int = 1, detector: int = 0, run: str = RUN
    ) -> LocalPod:
        """Let a pod with a repository of its own process a detector.

        Parameters
        ----------
        repository : `Repository`
            The pod's own repository.
        visit, detector : `int`
            The visit and detector to process.
        run : `str`
            The run of its outputs.
        """
        butler = repository.butler()
        night = Night(run=run, universe=butler.dimensions)
        records: dict[str, list[DimensionRecord]] = defaultdict(list)
        for record in night.visit_records(visit, detector):
            records[record.definition.name].append(record)
        for element, given in records.items():
            butler.registry.insertDimensionData(element, *given, skip_existing=True)
        butler.collections.register(run)
        outputs = []
        for dataset in night.event(visit, detector)["datasets"]:
            (ref,) = dataset["refs"].values()
            name, data_id = ref["dataset_type_name"], ref["data_id"]
            outputs.append(butler.put(data_id, name, data_id, run=run))
        return cls(butler, dict(records), outputs)


class RecordingTopic:
    """A topic that keeps the events that were sent to it.

    Attributes
    ----------
    values : `list` [`bytes`]
        The events that were sent.
    answers : `list` [`Undelivered` or `None`]
        Answers for the next events, one each; an `Undelivered` refuses its event.
    """

    def __init__(self, max_event_bytes: int = 10 * 2**20) -> None:
        self.max_event_bytes = max_event_bytes
        self.values: list[bytes] = []
        self.answers: list[Undelivered | None] = []

    def send(self, values: Sequence[bytes]) -> list[Undelivered | None]:
        """Accept or refuse each event, and return the answers."""
        answers = [self.answers.pop(0) if self.answers else None for _ in values]
        self.values += [v for v, answer in zip(values, answers, strict=True) if answer is None]
        return answers

    @property
    def events(self) -> list[PromptOutput]:
        """The events that were sent, as the service decodes them."""
        return [PromptOutput.decode(value) for value in self.values]

    @property
    def refs(self) -> dict[UUID, DatasetRefFields]:
        """Every dataset that was sent."""
        return {
            UUID(dataset_id): ref
            for event in self.events
            for file in event.datasets
            for dataset_id, ref in file["refs"].items()
        }
