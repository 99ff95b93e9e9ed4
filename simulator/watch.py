"""Watches the servers and workers of the demo: one that has ended ends the demo."""

from __future__ import annotations

import json
import shutil
import signal
import tempfile
from contextlib import suppress
from pathlib import Path

from testbed.process import ChildProcess
from testbed.server import Server

__all__ = ["DemoError", "Watch", "last_error"]

_ERRORS = {"error", "critical"}
#: Fields of a worker's log line that say what is wrong, the first that it has.
_REASONS = ("reason", "error", "exception")


class DemoError(Exception):
    """The demo cannot continue; the text says why, in one line."""


class Watch:
    """Notices that a server or worker has ended."""

    def __init__(self) -> None:
        self._watched: dict[str, Server] = {}

    def add(self, name: str, server: Server) -> None:
        """Watch a server, under a name for messages."""
        self._watched[name] = server

    def check(self) -> None:
        """Check that all of them are running.

        Raises
        ------
        DemoError
            If one has ended.  Its log is kept.
        """
        for name, server in self._watched.items():
            if (code := server.process.returncode) is not None:
                raise DemoError(self.describe(name, f"has ended ({_exit(code)})"))

    def drop(self, server: Server) -> str:
        """Watch a server that has ended no longer; return what became of it."""
        name = next(name for name, each in self._watched.items() if each is server)
        del self._watched[name]
        code = server.process.returncode
        assert code is not None  # noqa: S101 - it has ended
        return f"{name} (process {server.process.pid}) has ended ({_exit(code)})"

    def describe(self, name: str, problem: str) -> str:
        """Return what is wrong with a server, its last error, and where its log is kept."""
        process = self._watched[name].process
        error = last_error(process)
        said = f"its last error: {error}" if error else "its log has no error"
        return f"{name} (process {process.pid}) {problem}; {said}; log: {_keep(process.log, name)}"

    @property
    def logs(self) -> dict[str, Path]:
        """The log files by name."""
        return {name: server.log for name, server in self._watched.items()}


def last_error(process: ChildProcess) -> str | None:
    """Return the last line of a log that reports an error; `None` if there is none."""
    for line in reversed(process.log_text().splitlines()):
        try:
            fields = json.loads(line)
            level, event = fields["level"], fields["event"]
        except (ValueError, LookupError, TypeError):
            if line.strip():  # not a log line: the text of an error
                return line.strip()
            continue
        if level in _ERRORS:
            reason = next((str(fields[key]) for key in _REASONS if fields.get(key)), "")
            lines = [part for part in (str(event), *reason.splitlines()[-1:]) if part]
            return ": ".join(lines)
    return None


def _exit(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    with suppress(ValueError):
        return signal.Signals(-code).name
    return f"signal {-code}"


def _keep(log: Path, name: str) -> str:
    """Copy a log to where the demo does not remove it, and return that."""
    prefix = f"butler-writer-demo-{name.lower().replace(' ', '-')}-"
    try:
        with tempfile.NamedTemporaryFile(prefix=prefix, suffix=".log", delete=False) as kept:
            shutil.copyfile(log, kept.name)
    except OSError as exc:
        return f"not kept ({exc.strerror})"
    return kept.name
