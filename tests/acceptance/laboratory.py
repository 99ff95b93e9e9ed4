"""A service under load while a fault happens; then what was sent is reconciled.

Every message must be in the Butler or in the dead letters, and every dataset in the Butler once and
announced.  Offsets must be committed to the end of the log, and the run must be in its chain.
"""

from __future__ import annotations

import re
from collections.abc import Set
from contextlib import ExitStack
from pathlib import Path
from uuid import UUID

from app.settings.windows import WindowSettings
from testbed.control_groups import ControlGroup
from testbed.waiting import wait_until
from testbed.worker import Worker
from tests.acceptance.pods import Pods
from tests.acceptance.tally import Tally, reconcile
from tests.support.deployment import Deployment
from tests.support.events import DATASET_TYPES

__all__ = ["FAIL_POINTS", "Laboratory"]

FAIL_POINTS = Path(__file__).parent / "fail_points"

#: Timeouts shorter than in production, so that a scenario takes seconds.
SHORTENED = {
    "BUTLER_WRITER_KAFKA_SESSION_TIMEOUT": "6",
    "BUTLER_WRITER_KAFKA_REBALANCE_TIMEOUT": "20",
    "BUTLER_WRITER_KAFKA_COMMIT_INTERVAL": "0.5",
    "BUTLER_WRITER_RETRY_WAIT_MAX": "2",
    "BUTLER_WRITER_LOCK_TIMEOUT": "5",
    "BUTLER_WRITER_MISSING_FILE_TRIES": "2",
    "BUTLER_WRITER_MISSING_FILE_WAIT": "0.1",
    "BUTLER_WRITER_WINDOW_SECONDS": "0.5",
    # The bad events have runs of their own, and the artifacts of other events.
    "BUTLER_WRITER_PATHS_BELOW_RUN": "false",
}

#: Number of characters of each worker's log that a failed scenario shows.
_LOG_SHOWN = 20_000

#: Log lines that a fault outside the service cannot explain.
_ALARMING = re.compile(r'.*(?:"level": "critical"|Task exception was never|Crashed).*')


#: Log key with the number of a window's datasets that were in the Butler before.
_ABSORBED = re.compile(r'"already_there": (\d+)')


class Laboratory:
    """A deployment under load.

    Parameters
    ----------
    deployment : `Deployment`
        The topics and the repository.
    seed : `int`
        Seed of the random numbers.

    Attributes
    ----------
    pods : `Pods`
        The load.
    workers : `list` [`Worker`]
        Every worker that was started.
    tally : `Tally` or `None`
        The figures, after `reconcile`.
    """

    def __init__(self, deployment: Deployment, seed: int = 1) -> None:
        self.deployment = deployment
        deployment.settings.update(SHORTENED | deployment.settings)
        self.pods = Pods(deployment, seed)
        self.workers: list[Worker] = []
        self.tally: Tally | None = None
        self.kills = 0
        self._peak_rss = 0
        self._stack = ExitStack()

    def __enter__(self) -> Laboratory:
        return self

    def __exit__(self, *exc: object) -> None:
        for worker in self.workers:
            print(worker.log, worker.log_text()[-_LOG_SHOWN:], sep="\n")  # shown only for a failure
        self._stack.close()

    @property
    def lanes(self) -> int:
        """The number of lanes of each worker."""
        default = WindowSettings.model_fields["lanes"].default
        return int(self.deployment.settings.get("BUTLER_WRITER_LANES", default))

    def start(
        self, workers: int = 1, /, *, group: ControlGroup | None = None, **environment: str
    ) -> list[Worker]:
        """Start workers, in a control group if one is given, and wait until they are ready."""
        started = [
            self._stack.enter_context(self.deployment.worker(**environment)) for _ in range(workers)
        ]
        if group is not None:
            for worker in started:
                group.add(worker)
        for worker in started:
            worker.wait_ready(120)
        self.workers += started
        return started

    def start_unready(self) -> Worker:
        """Start a worker that cannot become ready yet."""
        worker = self._stack.enter_context(self.deployment.worker())
        self.workers.append(worker)
        return worker

    def kill(self, worker: Worker) -> None:
        """Kill a worker (SIGKILL)."""
        self._measure(worker)
        worker.kill()
        self.kills += 1

    def stop(self, worker: Worker) -> None:
        """Ask a worker to shut down (SIGTERM), and wait for its end."""
        self._measure(worker)
        worker.term()
        assert worker.wait() == 0

    def restart(self, worker: Worker) -> None:
        """Start a worker that has ended again, and wait until it is ready."""
        worker.start()
        worker.wait_ready(120)

    def busy(self, *workers: Worker) -> list[Worker]:
        """Return the workers that have a partition."""
        return [
            worker
            for worker in workers
            if worker.process.returncode is None and worker.partitions()
        ]

    def wait_finished(self, events: int, timeout: float = 120) -> None:
        """Wait until a number of further events are finished."""
        enough = self.deployment.committed() + events
        wait_until(
            lambda: self.deployment.committed() >= enough,
            timeout,
            lambda: f"{self.deployment.committed()} of {enough} events finished",
        )

    def wait_not_ready(self, *workers: Worker) -> None:
        """Wait until each worker reports a problem on ``/readyz``."""
        wait_until(lambda: all(w.status("/readyz") == 503 for w in workers), 60, "not ready")

    def reconcile(
        self, timeout: float = 120, *, alarm: str | None = None, by_others: Set[UUID] = frozenset()
    ) -> Tally:
        """Wait until every message is finished, and reconcile what was sent with what is stored.

        Parameters
        ----------
        timeout : `float`
            Seconds to wait.
        alarm : `str`, optional
            What the fault makes a worker log at level critical; nothing else may be alarming.
        by_others : `set` [`uuid.UUID`]
            Datasets that another program has written.

        Raises
        ------
        AssertionError
            If they do not agree, or if a worker's log has an error that a fault cannot explain.
        """
        self.deployment.wait_done(timeout)
        absorbed = 0
        alarms: list[str] = []
        for worker in self.workers:
            self._measure(worker)
            log = worker.log_text()
            absorbed += sum(map(int, _ABSORBED.findall(log)))
            alarms += _ALARMING.findall(log)
        unexpected = [line for line in alarms if alarm is None or alarm not in line]
        assert not unexpected, unexpected[0]
        assert alarm is None or alarms, f"no worker reports {alarm!r}"
        self.tally = reconcile(
            self.deployment,
            self.pods,
            redelivered=absorbed // len(DATASET_TYPES),
            kills=self.kills,
            peak_rss=self._peak_rss,
            by_others=by_others,
        )
        return self.tally

    def _measure(self, worker: Worker) -> None:
        if worker.process.returncode is None:
            self._peak_rss = max(self._peak_rss, peak_rss(worker))


def peak_rss(worker: Worker) -> int:
    """Return the highest memory of a worker's process, in MiB (Linux)."""
    status = Path(f"/proc/{worker.process.pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(found[1]) // 1024 if found else 0
