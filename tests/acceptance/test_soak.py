"""Seeded random faults for any duration: ``make soak MINUTES=15 SEED=7``."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from statistics import median

import psutil
import pytest

from testbed.kafka import ApacheKafka
from testbed.postgresql import PostgreSQL
from testbed.worker import Worker
from tests.acceptance.laboratory import Laboratory

MIB = 2**20


class Saboteur:
    """Causes faults, one after another; the seed determines their order.

    Two of the three workers are killed and stopped.  The third one runs during the whole soak, so
    that its memory can be observed; it is frozen like the others.
    """

    def __init__(
        self, laboratory: Laboratory, kafka: ApacheKafka, database: PostgreSQL, seed: int
    ) -> None:
        self._laboratory = laboratory
        self._kafka = kafka
        self._database = database
        self._rng = random.Random(seed)
        self._faults: list[Callable[[], None]] = [
            self.kill_worker,
            self.kill_worker,
            self.term_worker,
            self.freeze_worker,
            self.restart_database,
            self.kill_database,
            self.break_transactions,
            self.restart_broker,
            self.kill_broker,
            self.unmount_datastore,
        ]

    def strike(self) -> str:
        """Cause one fault at a random moment; return its name."""
        self._wait(1, 8)
        fault = self._rng.choice(self._faults)
        fault()
        return fault.__name__

    def _wait(self, least: float, most: float) -> None:
        time.sleep(self._rng.uniform(least, most))

    def kill_worker(self) -> None:
        """Kill a worker, and start it again."""
        victim = self._rng.choice(self._laboratory.workers[:2])
        self._laboratory.kill(victim)
        self._laboratory.restart(victim)

    def term_worker(self) -> None:
        """Shut a worker down, and start it again."""
        victim = self._rng.choice(self._laboratory.workers[:2])
        victim.term()
        assert victim.wait(60) == 0
        self._laboratory.restart(victim)

    def freeze_worker(self) -> None:
        """Freeze a worker, for shorter or longer than its session."""
        victim = self._rng.choice(self._laboratory.workers)
        victim.stop_process()
        self._wait(1, 12)
        victim.continue_process()

    def restart_database(self) -> None:
        """Restart the database."""
        self._database.restart()

    def kill_database(self) -> None:
        """Kill the database, and start it some time later."""
        self._database.kill()
        self._wait(0, 10)
        self._database.start()

    def break_transactions(self) -> None:
        """End every session of the database."""
        with self._database.connect() as administrator:
            administrator.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'butler'"
            )

    def restart_broker(self) -> None:
        """Restart the broker."""
        self._kafka.restart()

    def kill_broker(self) -> None:
        """Kill the broker, and start it some time later."""
        self._kafka.kill()
        self._wait(0, 10)
        self._kafka.start()

    def unmount_datastore(self) -> None:
        """Unmount the datastore for some time; pods cannot write to it either."""
        root = self._laboratory.deployment.root
        with self._laboratory.pods.paused():
            away = root.rename(root.with_name("away"))
            self._wait(0, 5)
            away.rename(root)


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_soak(
    request: pytest.FixtureRequest,
    make_laboratory: Callable[..., Laboratory],
    private_kafka: ApacheKafka,
    private_postgresql: PostgreSQL,
) -> None:
    minutes = request.config.getoption("--minutes")
    seed = request.config.getoption("--seed") or random.SystemRandom().randrange(1, 10**6)
    print(f"seed {seed}, {minutes:g} minutes", flush=True)
    laboratory = make_laboratory(
        kafka=private_kafka,
        database=private_postgresql.create_database("butler"),
        partitions=3,
        seed=seed,
    )
    laboratory.start(3)
    saboteur = Saboteur(laboratory, private_kafka, private_postgresql, seed)
    memory: list[int] = []
    start = time.monotonic()
    with laboratory.pods.load(rate=15, bad=0.05):
        while time.monotonic() < start + 60 * minutes:
            fault = saboteur.strike()
            print(f"{time.monotonic() - start:5.0f} s  {fault}", flush=True)
            for worker in laboratory.workers:
                worker.wait_ready(180)
            memory.append(rss(laboratory.workers[2]))
    laboratory.reconcile(300)
    third = len(memory) // 3
    if third:
        first, last = median(memory[:third]), median(memory[-third:])
        print(f"RSS, median of the first and of the last third: {first:.0f}, {last:.0f} MiB")
        assert last < 1.3 * first, "memory grows"


def rss(worker: Worker) -> int:
    """Return a worker's resident memory in MiB."""
    return int(psutil.Process(worker.process.pid).memory_info().rss) // MIB
