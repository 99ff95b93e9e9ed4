"""A database that accepts only encrypted connections."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.butler.policy import WritePolicy
from app.butler.repository.connection import RepositoryError, open_butler
from testbed.certificates import Authority
from testbed.postgresql import PostgreSQL
from testbed.writing import write_window
from tests.support.events import make_repository
from tests.support.repositories import Repository, decoded, written

pytestmark = pytest.mark.postgresql


@pytest.fixture
def authority(private_postgresql: PostgreSQL) -> Authority:
    """The authority of the server's certificate; the server accepts no connection without TLS."""
    found = Authority()
    with private_postgresql.connect() as connection:
        (data,) = connection.execute("SHOW data_directory").fetchone() or ("",)
        identity = Path(data) / "identity.pem"
        identity.write_bytes(found.issue())
        owner = Path(data).stat()
        shutil.chown(identity, owner.st_uid, owner.st_gid)
        identity.chmod(0o600)
        for setting in ("ssl_cert_file", "ssl_key_file"):
            connection.execute(f"ALTER SYSTEM SET {setting} = '{identity}'")
        connection.execute("ALTER SYSTEM SET ssl = on")
        hba = Path(data) / "pg_hba.conf"
        hba.write_text("hostssl all all 127.0.0.1/32 trust\n")
        connection.execute("SELECT pg_reload_conf()")
    return found


@pytest.fixture
def repository(
    authority: Authority,
    private_postgresql: PostgreSQL,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Repository]:
    certificate = tmp_path / "authority.pem"
    certificate.write_bytes(authority.certificate)
    monkeypatch.setenv("PGSSLMODE", "verify-full")
    monkeypatch.setenv("PGSSLROOTCERT", str(certificate))
    root = tmp_path / "repository"
    make_repository(root, database=private_postgresql.create_database("butler")).close()
    found = Repository(root)
    yield found
    found.close()


def test_events_are_written_over_an_encrypted_connection(repository: Repository) -> None:
    report = write_window(repository.writer(), decoded(repository.night().event()))
    written(report)
    encrypted = repository.sql(
        "SELECT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE datname = 'butler'"
    )
    assert encrypted
    assert all(encrypted)


def test_a_certificate_of_another_authority_is_refused(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other.pem"
    other.write_bytes(Authority().certificate)
    monkeypatch.setenv("PGSSLROOTCERT", str(other))
    with pytest.raises(RepositoryError, match="SSL error: ") as caught:
        open_butler(str(repository.root), WritePolicy())
    assert "\n" not in str(caught.value)


def test_a_connection_without_encryption_is_refused(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGSSLMODE", "disable")
    with pytest.raises(RepositoryError, match=r"no pg_hba.conf entry .* no encryption") as caught:
        open_butler(str(repository.root), WritePolicy())
    assert "\n" not in str(caught.value)
