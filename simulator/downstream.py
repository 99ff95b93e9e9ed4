"""The demo's downstream repository: a worker fills it behind an embargo, and it is looked at."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from threading import Event, Lock, Thread
from typing import NamedTuple, Self
from uuid import UUID

from astropy import units
from astropy.time import Time
from lsst.daf.butler import Butler

from simulator.check import check
from simulator.night import Night, Output, Pod
from simulator.outcome import DownstreamOutcome
from testbed.worker import Worker

__all__ = ["EMBARGO", "Downstream", "ending_now"]

#: Seconds from the end of a visit until what stands for its pixels is released.
EMBARGO = 18

#: Kinds of outputs that stand for pixels, and that are not released: globs of their types.
_PIXELS = ("*_background", "*_coverage", "*_kernel", "*_statistics")
_EXCLUDED = ("*_rejected",)

_RULES = f"""\
- dataset_types: {[*_EXCLUDED]}
  exclude: true
- dataset_types: {[*_PIXELS]}
  embargo_hours: {EMBARGO / 3600}  # {EMBARGO} s
- dataset_types: ["*"]
  embargo_hours: 0
"""

#: Seconds between two looks.
_INTERVAL = 0.2


def ending_now(night: Night) -> Night:
    """Return a night of today, whose first visit ends so that its pods begin to send now."""
    now = Time.now()
    today = (now - 12 * units.hour).strftime("%Y-%m-%d")
    night = replace(night, day_obs=today, evening=now)
    seconds, pod = next(night.pods())
    return replace(night, evening=now - (pod.visit.end - now) - seconds * units.s)


class _Expected(NamedTuple):
    """A dataset that is not in the repository yet.

    Attributes
    ----------
    due : `float`
        When it may be there, in seconds of Unix time.
    path : `pathlib.Path`
        Its file in the repository.
    pod : `tuple` [`int`, `int`]
        The visit and the detector that it is of.
    """

    due: float
    path: Path
    pod: tuple[int, int]


class Downstream:
    """A downstream repository, and the worker that fills it; a context manager.

    It looks all the time what is in the repository.

    Parameters
    ----------
    root : `pathlib.Path`
        The repository, which is empty.
    source : `pathlib.Path`
        The repository that is the source.
    environment : `~collections.abc.Mapping` [`str`, `str`]
        The configuration of the workers that write to the source.

    Attributes
    ----------
    worker : `Worker`
        The worker, not started yet.
    root : `pathlib.Path`
        The repository.
    early : `set` [`uuid.UUID`]
        The datasets that were there, or whose file was, while they were under embargo.
    """

    def __init__(self, root: Path, source: Path, environment: Mapping[str, str]) -> None:
        self.root = root
        self.early: set[UUID] = set()
        rules = root.with_suffix(".rules.yaml")
        rules.write_text(_RULES)
        self.environment = {
            **environment,
            "BUTLER_WRITER_ROLE": "replicate",
            "BUTLER_REPOSITORY": str(root),
            "BUTLER_WRITER_SOURCE_ROOT": str(source),
            "BUTLER_WRITER_RULES": str(rules),
        }
        self.worker = Worker(self.environment)
        self._source = source
        self._lock = Lock()
        self._pending: dict[UUID, _Expected] = {}
        self._pods: Counter[tuple[int, int]] = Counter()
        self._selected: dict[UUID, Output] = {}
        self._over = Event()
        self._thread = Thread(target=self._watch, name="downstream", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        self._thread.join()

    def expect(self, pod: Pod) -> None:
        """Start to wait for the selected datasets of a pod that has just sent its event."""
        key = pod.visit.id, pod.detector.id
        outputs = [each for each in pod.outputs if not _is_one_of(each, _EXCLUDED)]
        end = float(pod.visit.end.unix)
        with self._lock:
            for output in outputs:
                due = end + EMBARGO if _is_one_of(output, _PIXELS) else end
                self._pending[output.ref.id] = _Expected(due, self.root / output.path, key)
                self._selected[output.ref.id] = output
            self._pods[key] += len(outputs)

    @property
    def pending(self) -> int:
        """Number of selected datasets that are not there yet."""
        return len(self._pending)

    @property
    def complete_pods(self) -> int:
        """Number of pods whose selected datasets are all there."""
        return sum(not left for left in self._pods.copy().values())

    def wait(self, update: Callable[[], None], patience: float) -> None:
        """Wait until all selected datasets are there.

        Parameters
        ----------
        update : `~collections.abc.Callable`
            Called several times a second.
        patience : `float`
            Seconds without any progress after which it gives up.

        Raises
        ------
        TimeoutError
            If there is no progress any more; the text says what is missing.
        """
        left, since = self.pending, time.monotonic()
        while self.pending:
            if self.pending < left:
                left, since = self.pending, time.monotonic()
            elif time.monotonic() - since > patience:
                raise TimeoutError(
                    f"has made no progress for {patience:g} s: {left} of {len(self._selected)} "
                    "datasets are not in the downstream repository"
                )
            time.sleep(_INTERVAL)
            update()

    def outcome(self, night: Night) -> DownstreamOutcome:
        """Compare the repository with the selection of what was sent, and with the source."""
        return DownstreamOutcome(
            datasets=len(self._selected),
            early=len(self.early),
            verdict=check(self.root, night, self._selected, source=self._source),
        )

    def _watch(self) -> None:
        butler = Butler.from_config(str(self.root))
        while not self._over.wait(_INTERVAL):
            with self._lock:
                pending = self._pending.copy()
            if not pending:
                continue
            butler.registry.refresh()  # the worker has registered dataset types
            found = {ref.id for ref in butler.get_many_datasets(pending)}
            there = found | set(_with_file(pending))
            now = time.time()  # they were there before
            self.early |= {each for each in there if now < pending[each].due}
            with self._lock:
                for each in found:
                    self._pods[self._pending.pop(each).pod] -= 1


def _is_one_of(output: Output, globs: tuple[str, ...]) -> bool:
    return any(fnmatchcase(output.ref.datasetType.name, glob) for glob in globs)


def _with_file(pending: Mapping[UUID, _Expected]) -> Iterator[UUID]:
    """Yield the datasets under embargo whose file is there."""
    now = time.time()
    for each, expected in pending.items():
        if now < expected.due and expected.path.exists():
            yield each
