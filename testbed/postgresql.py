"""A private PostgreSQL cluster in a temporary folder."""

import os
import pwd
import shutil
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import psycopg
from psycopg import sql

from .availability import ServerUnavailableError
from .ports import free_port
from .process import ChildProcess
from .server import Server

__all__ = ["PostgreSQL", "Standby", "find_postgresql"]

_START_TIMEOUT = 30.0
_SUPER_USER = "postgres"
_DEBIAN_VERSIONS = Path("/usr/lib/postgresql")

# The data must survive the death of the server's processes, but not a crash of the machine.
_SETTINGS: dict[str, str | int] = {"fsync": "off", "log_lock_waits": "on"}


def find_postgresql() -> Path:
    """Return the folder of the server's programs: Debian's newest, or else that in ``PATH``.

    Raises
    ------
    ServerUnavailableError
        There is no server installed.
    """
    debian = [found for found in _DEBIAN_VERSIONS.glob("*/bin") if (found / "initdb").exists()]
    if debian:
        return max(debian, key=lambda folder: float(folder.parent.name))
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    raise ServerUnavailableError("no PostgreSQL server (initdb): install the package postgresql")


class PostgreSQL(Server):
    """A private PostgreSQL server; it keeps address and data over `restart` and `kill` + `start`.

    Parameters
    ----------
    settings
        Server settings by name, such as ``{"autovacuum": "off"}``.

    Raises
    ------
    ServerUnavailableError
        No server is installed, or there is no account to run it as: root may not run it.
    """

    def __init__(self, settings: Mapping[str, str | int] | None = None) -> None:
        self._programs = find_postgresql()
        self._user = _unprivileged_user()
        self._settings = _SETTINGS | dict(settings or {})
        self.port = free_port()
        super().__init__("PostgreSQL")
        if self._user is not None:
            shutil.chown(self._folder, self._user)
        try:
            self._initialize()
        except BaseException:
            self.close()
            raise

    def start(self) -> None:
        """Start the server and wait until it accepts connections."""
        settings = {
            **self._settings,
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": self._folder,
        }
        options = [f"--{name}={value}" for name, value in settings.items()]
        self._process = self._run("postgres", "-D", self._folder / "data", *options)

        def answers() -> bool:
            try:
                self.connect().close()
            except psycopg.OperationalError:
                return False
            return True

        self._wait_for_answer(answers, _START_TIMEOUT)

    def stop(self) -> None:
        """Shut the server down, which ends all sessions; it keeps its data."""
        if self._process is not None:
            self._process.stop(signal.SIGINT)

    def freeze(self) -> None:
        """Freeze the server and its sessions (SIGSTOP): it does not answer any more."""
        self._send_to_all(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen server continue (SIGCONT)."""
        self._send_to_all(signal.SIGCONT)

    def _send_to_all(self, number: signal.Signals) -> None:
        server = psutil.Process(self.pid)
        for process in [server, *server.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def restart(self) -> None:
        """Stop the server and start it again with the same address and data."""
        self.stop()
        self.start()

    @property
    def pid(self) -> int:
        """The server's process id.

        Raises
        ------
        RuntimeError
            The server was never started.
        """
        return self.process.pid

    def url(self, database: str) -> str:
        """Return a database's URL in the form that a Butler repository's configuration uses."""
        return f"postgresql://{_SUPER_USER}@127.0.0.1:{self.port}/{database}"

    def connect(self, database: str = "postgres") -> psycopg.Connection[tuple[Any, ...]]:
        """Open a connection of the super user in autocommit mode."""
        return psycopg.connect(self.url(database), autocommit=True)

    def create_database(self, name: str, extensions: Sequence[str] = ("btree_gist",)) -> str:
        """Create a database with extensions (the Butler needs the default one); return its URL."""
        with self.connect() as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        with self.connect(name) as connection:
            for extension in extensions:
                connection.execute(sql.SQL("CREATE EXTENSION {}").format(sql.Identifier(extension)))
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Remove a database, and end the sessions that use it."""
        with self.connect() as connection:
            connection.execute(
                sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
            )

    def _initialize(self) -> None:
        self._make_data(
            "initdb",
            f"--username={_SUPER_USER}",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
        )

    def _make_data(self, program: str, *arguments: str) -> None:
        data = f"--pgdata={self._folder / 'data'}"
        tool = self._run(program, data, "--no-sync", *arguments)
        if tool.wait(_START_TIMEOUT) != 0:
            raise ChildProcessError(f"{program} failed:\n{tool.log_tail()}")

    def _run(self, program: str, *arguments: str | Path) -> ChildProcess:
        return ChildProcess(
            [self._programs / program, *arguments],
            log=self.log,
            cwd=self._folder,
            user=self._user,
            # SIGQUIT is the server's "immediate shutdown", which also ends its backends.
            death_signal=signal.SIGQUIT,
        )


class Standby(PostgreSQL):
    """A read-only server that follows another one by streaming replication.

    Parameters
    ----------
    primary
        The server to follow. It is running, and has a role and a replication slot ``standby``.
    settings
        Server settings by name.
    """

    def __init__(
        self, primary: PostgreSQL, settings: Mapping[str, str | int] | None = None
    ) -> None:
        self._primary = primary
        super().__init__(settings)

    def _initialize(self) -> None:
        self._make_data(
            "pg_basebackup",
            "--host=127.0.0.1",
            f"--port={self._primary.port}",
            "--username=standby",
            "--slot=standby",
            "--wal-method=stream",
            "--checkpoint=fast",
            "--write-recovery-conf",
        )


def _unprivileged_user() -> str | None:
    """Return the account to run the server as; None for that of this process."""
    if os.geteuid() != 0:
        return None
    for name in (_SUPER_USER, "nobody"):
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            continue
    raise ServerUnavailableError("PostgreSQL does not run as root, and there is no other account")
