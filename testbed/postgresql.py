"""A private PostgreSQL cluster in a temporary folder."""

import os
import pwd
import shutil
import signal
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import psycopg
from psycopg import sql

from .availability import PartUnavailableError
from .ports import free_port
from .process import ChildProcess
from .waiting import wait_until

__all__ = ["PostgreSQL", "Standby", "find_postgresql"]

_START_TIMEOUT = 30.0
_SUPER_USER = "postgres"
_DEBIAN_VERSIONS = Path("/usr/lib/postgresql")

# Nothing here has to survive the machine, only the death of the server's processes.
_SETTINGS: dict[str, str | int] = {"fsync": "off", "log_lock_waits": "on"}


def find_postgresql() -> Path:
    """Return the folder of the server's programs: Debian's newest, else that on the path.

    Raises
    ------
    PartUnavailableError
        There is no server installed.
    """
    debian = [found for found in _DEBIAN_VERSIONS.glob("*/bin") if (found / "initdb").exists()]
    if debian:
        return max(debian, key=lambda folder: float(folder.parent.name))
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    raise PartUnavailableError("no PostgreSQL server (initdb): install the package postgresql")


class PostgreSQL:
    """A private PostgreSQL server; its address and data survive `restart` and `kill` + `start`.

    Parameters
    ----------
    settings
        Server settings by name, such as ``{"autovacuum": "off"}``.

    Raises
    ------
    PartUnavailableError
        There is no server installed, or no account to run it as: root may not.
    """

    def __init__(self, settings: Mapping[str, str | int] | None = None) -> None:
        self._programs = find_postgresql()
        self._user = _unprivileged_user()
        self._settings = _SETTINGS | dict(settings or {})
        self.port = free_port()
        self._folder = Path(tempfile.mkdtemp(prefix="butler-writer-postgresql-"))
        if self._user is not None:
            shutil.chown(self._folder, self._user)
        self.log = self._folder / "postgresql.log"
        self._process: ChildProcess | None = None
        try:
            self._initialize()
        except BaseException:
            self.close()
            raise

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
        """Start the server and wait until it takes connections."""
        settings = {
            **self._settings,
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": self._folder,
        }
        options = [f"--{name}={value}" for name, value in settings.items()]
        process = self._process = self._run("postgres", "-D", self._folder / "data", *options)

        def answers() -> bool:
            if process.returncode is not None:
                raise ChildProcessError(f"PostgreSQL ended as it started:\n{process.log_tail()}")
            try:
                self.connect().close()
            except psycopg.OperationalError:
                return False
            return True

        wait_until(answers, _START_TIMEOUT, lambda: f"PostgreSQL:\n{process.log_tail()}")

    def stop(self) -> None:
        """Stop the server in good order, ending its clients' sessions; its data stays."""
        if self._process is not None:
            self._process.stop(signal.SIGINT)

    def kill(self) -> None:
        """End the server and all its backends with SIGKILL; its data stays."""
        if self._process is not None:
            self._process.kill()

    def restart(self) -> None:
        """Stop the server and start it again at the same address with its data."""
        self.stop()
        self.start()

    def close(self) -> None:
        """End the server and remove its data."""
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def pid(self) -> int:
        """The server's process id.

        Raises
        ------
        RuntimeError
            The server was never started.
        """
        if self._process is None:
            raise RuntimeError("the server was not started")
        return self._process.pid

    def url(self, database: str) -> str:
        """Return a database's address, as a Butler repository's configuration has it."""
        return f"postgresql://{_SUPER_USER}@127.0.0.1:{self.port}/{database}"

    def connect(self, database: str = "postgres") -> psycopg.Connection[tuple[Any, ...]]:
        """Open a connection of the super user, each statement a transaction of its own."""
        return psycopg.connect(self.url(database), autocommit=True)

    def create_database(self, name: str, extensions: Sequence[str] = ("btree_gist",)) -> str:
        """Create a database with extensions (Butler needs the default one); return its address."""
        with self.connect() as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        with self.connect(name) as connection:
            for extension in extensions:
                connection.execute(sql.SQL("CREATE EXTENSION {}").format(sql.Identifier(extension)))
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Remove a database, ending the sessions that use it."""
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
            # SIGQUIT is the server's "immediate shutdown": it takes its backends along.
            death_signal=signal.SIGQUIT,
        )


class Standby(PostgreSQL):
    """A server that follows another by streaming replication; it is read-only.

    Parameters
    ----------
    primary
        The server to follow, running, with a role and a replication slot named ``standby``.
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
    """Return the account to run the server as; None means our own."""
    if os.geteuid() != 0:
        return None
    for name in (_SUPER_USER, "nobody"):
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            continue
    raise PartUnavailableError("PostgreSQL does not run as root, and there is no other account")
