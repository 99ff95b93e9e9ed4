"""A child process with a log file; it never outlives the process that started it."""

import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil

from .waiting import wait_until

__all__ = ["ChildProcess"]

# The kernel sends the parent-death signal when the *thread* that forked ends. So every child is
# forked from this thread, which lives as long as the interpreter; a child forked from a test's
# thread pool would be killed when that pool ends.
_forking_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="fork")


class ChildProcess:
    """A running command in a new session, whose output is appended to a file.

    Parameters
    ----------
    command
        Program and arguments.
    log
        File that receives standard output and standard error.
    env
        The complete environment of the command; by default that of this process.
    cwd
        Working folder.
    user
        Account to run as; only root can choose one.
    death_signal
        Sent by the kernel when this process dies, however it dies (Linux with ``setpriv``).
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        user: str | None = None,
        death_signal: signal.Signals = signal.SIGKILL,
    ) -> None:
        self.log = log
        arguments = [*_setpriv(user, death_signal), *map(str, command)]
        with log.open("ab") as output:
            self._popen = _forking_thread.submit(
                lambda: subprocess.Popen(
                    arguments,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=env,
                    cwd=cwd,
                    start_new_session=True,
                )
            ).result()

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._popen.pid

    @property
    def returncode(self) -> int | None:
        """Exit code; negative for a signal, None while the process runs."""
        return self._popen.poll()

    def send(self, number: signal.Signals) -> None:
        """Send a signal to this process only; do nothing if it has ended."""
        self._popen.send_signal(number)

    def wait(self, timeout: float) -> int:
        """Wait for the end and return the exit code.

        Raises
        ------
        TimeoutError
            The process was still running after ``timeout`` seconds; its log is in the text.
        """
        try:
            return self._popen.wait(timeout)
        except subprocess.TimeoutExpired:
            raise TimeoutError(
                f"still running after {timeout:g} s; its log ends:\n{self.log_tail()}"
            ) from None

    def stop(self, number: signal.Signals = signal.SIGTERM, timeout: float = 30) -> None:
        """Send a signal that asks the process to end, and kill it after the timeout."""
        self.send(number)
        try:
            self.wait(timeout)
        except TimeoutError:
            self.kill()

    def kill(self) -> None:
        """Kill the process and its descendants (SIGKILL), and wait until they are gone.

        Descendants are found by parentage: some leave the process group (a PostgreSQL backend
        opens its own session).
        """
        if self.returncode is not None:
            return
        process = psutil.Process(self.pid)
        family = [process, *process.children(recursive=True)]
        for member in family:
            try:
                member.kill()
            except psutil.NoSuchProcess:
                continue
        self._popen.wait()
        wait_until(lambda: not any(map(_runs, family)), 10, f"the end of {family}")

    def log_text(self) -> str:
        """Return everything written so far."""
        return self.log.read_text(errors="replace")

    def log_tail(self, lines: int = 40) -> str:
        """Return the last lines written."""
        return "\n".join(self.log_text().splitlines()[-lines:])


def _runs(process: psutil.Process) -> bool:
    """Tell whether a process is running, and not a zombie."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _setpriv(user: str | None, death_signal: signal.Signals) -> list[str]:
    """Return the command that sets user and death signal and then executes its arguments."""
    if shutil.which("setpriv") is None:
        if user is not None:
            raise FileNotFoundError("setpriv (package util-linux) is needed to change the user")
        return []
    change = [] if user is None else [f"--reuid={user}", f"--regid={user}", "--init-groups"]
    return ["setpriv", f"--pdeathsig={death_signal.name.removeprefix('SIG')}", *change, "--"]
