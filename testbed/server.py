"""A child process with a folder of its own: what all servers and workers have in common."""

import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Self

from .process import ChildProcess
from .waiting import wait_until

__all__ = ["Server"]


class Server(ABC):
    """A server in a temporary folder; as a context manager, it runs until the end of the block.

    Parameters
    ----------
    name
        Its name, in messages and in the names of its folder and its log.

    Attributes
    ----------
    log
        File that receives its output.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._folder = Path(tempfile.mkdtemp(prefix=f"butler-writer-{name.lower()}-"))
        self.log = self._folder / f"{name.lower()}.log"
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

    @abstractmethod
    def start(self) -> None:
        """Start the process, or start it again."""

    @property
    def process(self) -> ChildProcess:
        """The running process, or the last one.

        Raises
        ------
        RuntimeError
            It was never started.
        """
        if self._process is None:
            raise RuntimeError(f"{self._name} was not started")
        return self._process

    def kill(self) -> None:
        """Kill the process and its descendants (SIGKILL)."""
        if self._process is not None:
            self._process.kill()

    def close(self) -> None:
        """Kill the process if it is still running, and remove its folder."""
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _wait_for_answer(self, answers: Callable[[], bool], timeout: float) -> None:
        """Wait until the process answers.

        Raises
        ------
        ChildProcessError
            It ended instead.
        TimeoutError
            It did not answer. In both cases the text contains the end of its log.
        """
        process = self.process

        def is_there() -> bool:
            if (code := process.returncode) is not None:
                text = f"{self._name} ended with exit code {code} while it started"
                raise ChildProcessError(f"{text}:\n{process.log_tail()}")
            return answers()

        wait_until(is_there, timeout, lambda: f"{self._name}'s answer:\n{process.log_tail()}")
