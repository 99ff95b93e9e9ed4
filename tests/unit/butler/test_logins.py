"""A login that is refused is told from other errors, with where to look."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
from botocore.exceptions import ClientError
from sqlalchemy.exc import OperationalError

from app.butler.away import is_away
from app.butler.failures import RetryableError
from app.butler.logins import refused_login
from app.butler.refused_connections import refused_connection
from app.errors import LoginRefusedError


def of_database(text: str, state: str | None = None) -> Exception:
    error = psycopg.OperationalError(f"connection failed: FATAL:  {text}")
    error.sqlstate = state
    return OperationalError("SELECT 1", {}, error)


def of_store(code: str) -> Exception:
    return ClientError({"Error": {"Code": code, "Message": "refused"}}, "ListObjectsV2")


@pytest.fixture(autouse=True)
def no_secrets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("LSST_DB_AUTH", "LSST_DB_AUTH_CREDENTIALS", "PGPASSWORD", "PGPASSFILE"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    "error",
    [
        of_database('password authentication failed for user "writer"'),
        of_database('role "writer" is not permitted to log in'),
        of_database('role "writer" does not exist'),
        of_database("refused", "28P01"),
        of_database("refused", "28000"),
    ],
    ids=str,
)
def test_a_refused_login_of_the_database_is_recognized(error: Exception) -> None:
    assert (refused_login(error) or "").startswith("the database refuses the login: ")


@pytest.mark.parametrize(
    "error",
    [
        of_database("the database system is starting up"),
        of_database('database "butler" does not exist'),
        of_database('no pg_hba.conf entry for host "10.0.0.1", user "writer"'),
        of_database("SSL error: certificate verify failed"),
        of_database('role "reader" does not exist', "42704"),  # a statement's, not the login's
        OSError("Connection refused"),
        of_store("AccessDenied"),
        of_store("NoSuchBucket"),
        ValueError("password authentication failed"),
    ],
    ids=str,
)
def test_other_errors_are_no_refused_login(error: Exception) -> None:
    assert refused_login(error) is None


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ('no pg_hba.conf entry for host "10.0.0.1", user "writer"', "pg_hba.conf"),
        ('pg_hba.conf rejects connection for host "10.0.0.1"', "pg_hba.conf"),
        ("server does not support SSL, but SSL was required", "PGSSLMODE"),
        ('root certificate file "/root.crt" does not exist', "PGSSLROOTCERT"),
        ('server certificate for "db" does not match host name "10.0.0.1"', "PGSSLROOTCERT"),
        ("SSL error: certificate verify failed", "PGSSLROOTCERT"),
        ("connection requires a valid client certificate", "PGSSLCERT"),
        ("SSL error: sslv3 alert certificate expired", "PGSSLCERT"),
        ('private key file "/key.pem" has group or world access', "PGSSLKEY"),
        ('database "butler" does not exist', "registry.db in the repository's configuration"),
    ],
)
def test_what_a_new_secret_does_not_change_has_its_own_remedy(text: str, remedy: str) -> None:
    error = of_database(text)
    assert refused_login(error) is None
    assert not is_away(error)  # a starting worker ends
    refusal = refused_connection(error)
    assert refusal is not None
    assert remedy in refusal.text


def test_an_outage_of_the_database_has_no_remedy() -> None:
    assert refused_connection(of_database("the database system is starting up")) is None


def test_the_secret_of_the_database_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    error = of_database('password authentication failed for user "writer"')
    assert (refused_login(error) or "").endswith("configuration, or set PGPASSWORD")
    Path("~/.pgpass").expanduser().touch()
    assert (refused_login(error) or "").endswith("; check PGPASSFILE (~/.pgpass)")
    monkeypatch.setenv("PGPASSWORD", "secret")
    assert (refused_login(error) or "").endswith("; check PGPASSWORD")
    monkeypatch.setenv("LSST_DB_AUTH", "/")
    assert (refused_login(error) or "").endswith("; check LSST_DB_AUTH (/)")
    monkeypatch.setenv("LSST_DB_AUTH_CREDENTIALS", "[]")
    assert (refused_login(error) or "").endswith("; check LSST_DB_AUTH_CREDENTIALS")


@pytest.mark.parametrize("code", ["InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken"])
def test_a_refused_key_of_the_store_is_recognized(
    code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    refusal = refused_login(of_store(code)) or ""
    assert refusal.startswith("the file store refuses the login: ")
    assert refusal.endswith("; check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")


def test_a_refused_login_is_recognized_behind_the_error_that_it_led_to() -> None:
    error = RetryableError("a step failed")
    error.__cause__ = LoginRefusedError("Kafka refuses the login")
    assert refused_login(error) == "Kafka refuses the login"


def test_errors_that_lead_back_to_themselves_are_looked_at_once() -> None:
    cause, wrapper = OSError("gone"), ValueError("wraps it")
    cause.__context__, wrapper.__cause__ = wrapper, cause
    assert refused_login(cause) is None
    assert refused_login(wrapper) is None
