"""One child process with a log file, which never outlives the process that started it."""

import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil

from .waiting import wait_until

__all__ = ["ChildProcess"]

# The kernel sends the parent-death signal when the *thread* that forked ends. Every child is
# forked from this one thread, which lives as long as the interpreter; a child started from
# a test's own thread pool would be killed with that pool.
_forking_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="fork")


class ChildProcess:
    """A running command, in a session of its own, its output appended to a file.

    Parameters
    ----------
    command
        Program and arguments.
    log
        File that receives standard output and standard error.
    env
        The whole environment of the command; this process's own if not given.
    cwd
        Working folder.
    user
        Account to run as; takes root.
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
        """Send a signal to the process alone; nothing happens if it has ended."""
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
        """Ask for the end with a signal, and force it when the time is up."""
        self.send(number)
        try:
            self.wait(timeout)
        except TimeoutError:
            self.kill()

    def kill(self) -> None:
        """End the process and its descendants at once with SIGKILL, and wait until they are gone.

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
    """Tell whether a process is more than an entry that nobody has collected yet."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _setpriv(user: str | None, death_signal: signal.Signals) -> list[str]:
    """Return the command that sets user and death signal, then becomes its arguments."""
    if shutil.which("setpriv") is None:
        if user is not None:
            raise FileNotFoundError("setpriv (package util-linux) is needed to change the user")
        return []
    change = [] if user is None else [f"--reuid={user}", f"--regid={user}", "--init-groups"]
    return ["setpriv", f"--pdeathsig={death_signal.name.removeprefix('SIG')}", *change, "--"]
