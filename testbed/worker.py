"""A worker process, started as an operator starts one."""

import json
import re
import signal
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .ports import free_port
from .process import ChildProcess
from .server import Server
from .waiting import wait_until

__all__ = ["CHECKOUT", "Worker", "faust_command"]

CHECKOUT = Path(__file__).parents[1]

_REQUEST_TIMEOUT = 5.0
_PROGRAMS = Path(sys.executable).parent


def _surroundings(home: Path) -> dict[str, str]:
    """Return the part of this process's environment that a child gets: where programs are."""
    return {"PATH": f"{_PROGRAMS}:/usr/local/bin:/usr/bin:/bin", "HOME": str(home)}


def faust_command(
    environment: Mapping[str, str], *arguments: str, timeout: float = 120
) -> subprocess.CompletedProcess[str]:
    """Run ``faust -A app`` with arguments, in the environment of a worker, until it ends."""
    with tempfile.TemporaryDirectory() as home:
        return subprocess.run(
            [_PROGRAMS / "faust", "-A", "app", *arguments],
            env={**_surroundings(Path(home)), "BUTLER_WRITER_DATA_DIRECTORY": home, **environment},
            cwd=CHECKOUT,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )


class Worker(Server):
    """A process ``faust -A app worker`` with a data folder of its own.

    Parameters
    ----------
    environment
        The worker's complete configuration. From this process's environment it gets only
        ``PATH``, with the virtual environment first. It has a ``HOME`` of its own.
    checkout
        Working folder, in which the package ``app`` is found.
    arguments
        Further arguments of ``faust worker``.
    programs
        The folder that the program ``faust`` is in.
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        *,
        checkout: Path = CHECKOUT,
        arguments: Sequence[str] = (),
        programs: Path = _PROGRAMS,
    ) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        super().__init__("worker")
        self._checkout = checkout
        self._arguments = arguments
        self._programs = programs
        self._environment = {
            **_surroundings(self._folder),
            "PYTHONUNBUFFERED": "1",  # tests read the log while the worker runs
            "BUTLER_WRITER_DATA_DIRECTORY": str(self._folder / "tables"),
            **environment,
        }

    def start(self) -> None:
        """Start the process, or start it again with the same data folder and port."""
        self._process = ChildProcess(
            [
                self._programs / "faust",
                "-A",
                "app",
                "worker",
                f"--web-port={self.port}",
                *self._arguments,
            ],
            log=self.log,
            env=self._environment,
            cwd=self._checkout,
        )

    def wait_ready(self, timeout: float = 60) -> None:
        """Wait until ``/readyz`` answers 200.

        Raises
        ------
        ChildProcessError
            The worker ended instead.
        TimeoutError
            It was still not ready. In both cases the text contains the end of its log.
        """

        def ready() -> bool:
            if self.process.returncode is not None:
                raise ChildProcessError(self._with_log(f"exit code {self.process.returncode}"))
            return self.status("/readyz") == 200

        wait_until(ready, timeout, lambda: self._with_log(f"{self.url}/readyz"), interval=0.1)

    def status(self, path: str) -> int | None:
        """Return the HTTP status of a page; None if there is no answer."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=_REQUEST_TIMEOUT) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return None

    def state(self) -> dict[str, Any]:
        """Return the worker's state from ``/state``."""
        with urllib.request.urlopen(f"{self.url}/state", timeout=_REQUEST_TIMEOUT) as answer:
            found: dict[str, Any] = json.load(answer)
            return found

    def partitions(self) -> set[str]:
        """Return the partitions of the input topic that the worker reads."""
        if self.status("/state") != 200:
            return set()
        return set(self.state()["partitions"])

    def page(self, path: str) -> str:
        """Return the text of a page."""
        with urllib.request.urlopen(self.url + path, timeout=_REQUEST_TIMEOUT) as answer:
            return str(answer.read().decode())

    def term(self) -> None:
        """Ask the worker to shut down (SIGTERM); use `wait` for the end."""
        self.process.send(signal.SIGTERM)

    def stop_process(self) -> None:
        """Freeze the worker (SIGSTOP): its connections stay open, but it does not answer."""
        self.process.send(signal.SIGSTOP)

    def continue_process(self) -> None:
        """Resume a frozen worker (SIGCONT)."""
        self.process.send(signal.SIGCONT)

    def wait(self, timeout: float = 60) -> int:
        """Wait for the end and return the exit code, negative for a signal.

        Raises
        ------
        TimeoutError
            The worker was still running; the text contains the end of its log.
        """
        return self.process.wait(timeout)

    def log_text(self) -> str:
        """Return the worker's whole log, from all its starts."""
        return self.process.log_text()

    def wait_for_log(self, pattern: str, timeout: float = 30) -> re.Match[str]:
        """Wait until the log matches a regular expression, and return the first match.

        Raises
        ------
        TimeoutError
            It did not match in time; the text contains the end of the log.
        """
        found = wait_until(
            lambda: re.search(pattern, self.log_text()),
            timeout,
            lambda: self._with_log(f"a line that matches {pattern!r}"),
        )
        assert found is not None
        return found

    def _with_log(self, text: str) -> str:
        return f"{text}; the worker's log ends:\n{self.process.log_tail()}"
