"""The load: the simulator's events, with artifacts on disk."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any
from uuid import uuid4

from simulator.camera import DETECTORS
from simulator.event import encode_event, event_of
from simulator.night import Night, Pod, Visit

__all__ = ["Workload", "datasets_of"]


@dataclass
class Workload:
    """The pods of a night, visit by visit.

    Attributes
    ----------
    root : `pathlib.Path`
        Folder that the artifacts are written to.
    datasets : `int`
        Number of datasets per pod.
    cadence : `float`
        Seconds between two visits.
    """

    root: Path
    datasets: int
    cadence: float = 34.0

    def __post_init__(self) -> None:
        self.night = Night(datasets=self.datasets, cadence=self.cadence)
        self._folders: set[str] = set()

    def pods(self, first_visit: int, number: int) -> list[Pod]:
        """Return a number of pods: all of a visit, then all of the next one."""
        visits: dict[int, Visit] = {}
        pods = []
        for n in range(number):
            visit_number, detector = first_visit + n // len(DETECTORS), n % len(DETECTORS)
            visit = visits.setdefault(visit_number, Visit(self.night, visit_number))
            pods.append(Pod(visit, DETECTORS[detector]))
        return pods

    def in_time(self, first_visit: int, number: int) -> list[tuple[float, Pod]]:
        """Return a number of pods, each with its end in seconds after the first exposure."""
        pods = self.pods(first_visit, number)
        ends = [(pod.visit.number - first_visit) * self.cadence + pod.seconds for pod in pods]
        return sorted(zip(ends, pods, strict=True), key=itemgetter(0))

    def events(self, first_visit: int, number: int) -> list[bytes]:
        """Return a number of serialized events whose artifacts exist."""
        return [encode_event(event) for event in self.decoded(first_visit, number)]

    def decoded(self, first_visit: int, number: int) -> Iterator[dict[str, Any]]:
        """Return a number of events, not serialized, whose artifacts exist."""
        for pod in self.pods(first_visit, number):
            self.place_artifacts(pod)
            yield event_of(pod)

    def place_artifacts(self, pod: Pod) -> None:
        """Create a pod's artifacts, as links to one file, since nothing reads them.

        Creating a link takes 8 us, creating a file 300 us (measured on ext4).
        """
        # Several workloads may place artifacts in one repository at once.
        file = f"{self.root}/artifact-{uuid4()}"
        Path(file).write_bytes(b"{}")
        for output in pod.outputs:
            folder, _, name = output.path.rpartition("/")
            if folder not in self._folders:
                (self.root / folder).mkdir(parents=True, exist_ok=True)
                self._folders.add(folder)
            with suppress(FileExistsError):
                os.link(file, f"{self.root}/{folder}/{name}")
        Path(file).unlink()


def datasets_of(events: Sequence[bytes]) -> int:
    """Return the number of datasets in serialized events."""
    return sum(event.count(b'"dataset_type_name"') for event in events)
