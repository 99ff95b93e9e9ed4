"""Exceptions are described in one line, which says something."""

from __future__ import annotations

import asyncio
import re
import time

import aiohttp
import psycopg
import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaConnectionError, NotCoordinatorForGroupError
from lsst.daf.butler.registry import ConflictingDefinitionError
from sqlalchemy.exc import DBAPIError, StatementError

from app.butler.descriptions import describe, describe_with_type
from app.butler.failures import RetryableError
from app.errors import OperatorError
from models.errors import InvalidEventError
from testbed.ports import free_port
from testbed.worker import CHECKOUT

STATEMENT, PARAMETERS = "INSERT INTO dataset", {"id": "the-parameter"}


class WithoutTextError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


def wrapped(orig: Exception) -> DBAPIError:
    return DBAPIError.instance(STATEMENT, PARAMETERS, orig, psycopg.Error)  # type: ignore[return-value]


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize("error", [TimeoutError(), AssertionError(), OSError(" \n"), KeyError()])
def test_an_error_without_a_text_is_described_by_its_type(error: Exception) -> None:
    assert describe(error) == type(error).__name__
    assert describe_with_type(error) == type(error).__name__


def test_an_error_whose_text_cannot_be_made_is_described() -> None:
    assert describe_with_type(WithoutTextError()) == "WithoutTextError: without text: RuntimeError"


def test_a_description_can_be_encoded() -> None:
    assert describe(ValueError("half \ud83d")).encode() == rb"half \ud83d"


@pytest.mark.parametrize("make", [OperatorError, RetryableError])
def test_an_error_of_our_own_is_described_whole_and_once(make: type[Exception]) -> None:
    database = wrapped(psycopg.OperationalError("connection failed:\n FATAL: too many"))
    error = caused(make("; ".join([describe(database)] * 30)), database)
    assert describe(error) == str(error)


def test_only_one_place_makes_text_of_an_exception() -> None:
    made = re.compile(r"\{type\((exc|error)\)\.__name__\}|repr\((exc|error)\)")
    folders = [CHECKOUT / name for name in ("agents", "app")]
    files = [path for folder in folders for path in folder.rglob("*.py")]
    places = {path.name for path in files if made.search(path.read_text())}
    assert places == {"descriptions.py", "log.py"}, "log.py: of errors that a value raises"


def test_a_description_has_no_sql_parameters() -> None:
    error = wrapped(psycopg.errors.UniqueViolation("the server says no"))
    assert "the-parameter" in str(error)
    for described in (
        describe(error),
        describe(caused(ConflictingDefinitionError("two definitions"), error)),
        describe(caused(ConflictingDefinitionError(f"there already: {error}"), error)),
    ):
        assert "the server says no" in described
        assert "the-parameter" not in described
        assert "INSERT" not in described
    assert describe(caused(ConflictingDefinitionError("two definitions"), error)) == (
        "the server says no (two definitions)"
    )


def test_a_description_of_a_value_that_was_never_sent_has_no_sql() -> None:
    error = StatementError("not bound", STATEMENT, PARAMETERS, ValueError("no time"))
    assert describe(error) == "no time"


def test_a_description_is_one_line() -> None:
    orig = psycopg.errors.UniqueViolation("duplicate key\n  DETAIL:  Key (id)\n\tis there\r\n")
    assert describe(wrapped(orig)) == "duplicate key DETAIL: Key (id) is there"
    assert describe(LookupError("\n a\n\nb ")) == "a b"


@pytest.mark.parametrize("make", [InvalidEventError, psycopg.DataError])
def test_a_description_is_bounded(make: type[Exception]) -> None:
    error = make("x" * 10_000)
    described = describe(wrapped(error) if isinstance(error, psycopg.Error) else error)
    assert len(described) == 500
    assert described.endswith("x...")


@pytest.mark.parametrize(
    ("error", "described"),
    [
        (KafkaConnectionError("closed"), "KafkaConnectionError: closed"),
        (KafkaConnectionError(), "KafkaConnectionError"),
        (NotCoordinatorForGroupError(), "NotCoordinatorForGroupError"),
        (NotCoordinatorForGroupError("moved."), "NotCoordinatorForGroupError: moved"),
        (ValueError("ValueError: twice"), "ValueError: twice"),
        (OSError(20, "Not a directory", "/x"), "NotADirectoryError: Not a directory: '/x'"),
        (RetryableError("the store is away"), "the store is away"),
        (OperatorError("no topic; create it."), "no topic; create it"),
        (LookupError("more to come..."), "LookupError: more to come..."),
    ],
    ids=str,
)
def test_a_type_is_named_once_and_without_numbers_and_stops(
    error: Exception, described: str
) -> None:
    assert describe_with_type(error) == described


async def test_a_connection_that_is_refused_is_described_in_usual_words() -> None:
    port = free_port()
    refused = f"127.0.0.1:{port}: Connection refused"
    with pytest.raises(OSError, match="Connect call failed") as raw:
        await asyncio.open_connection("127.0.0.1", port)
    assert describe(raw.value) == refused
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectorError) as page:
            await session.get(f"http://127.0.0.1:{port}/state")
        assert describe(page.value) == refused
        with pytest.raises(aiohttp.ClientConnectorError) as unknown:
            await session.get("http://no-such-host.invalid:6066/state")
        assert describe(unknown.value).startswith("no-such-host.invalid:6066: ")
        assert "ssl:" not in describe(unknown.value)
    consumer = AIOKafkaConsumer(bootstrap_servers=f"127.0.0.1:{port}")
    with pytest.raises(KafkaConnectionError) as broker:
        await consumer.start()
    await consumer.stop()
    assert describe(broker.value) == f"no broker answers: 127.0.0.1:{port}"


def test_each_of_several_addresses_is_described() -> None:
    error = OSError(
        "Multiple exceptions: [Errno 111] Connect call failed ('::1', 6066, 0, 0), "
        "[Errno 113] Connect call failed ('10.0.0.1', 6066)"
    )
    assert describe(error) == "[::1]:6066: Connection refused, 10.0.0.1:6066: No route to host"
    assert describe(OSError(111, "Connect call failed ('/run/socket',)")) == (
        "/run/socket: Connection refused"
    )


def test_a_text_that_a_sender_has_chosen_is_described_at_once() -> None:
    started = time.process_time()
    described = describe(InvalidEventError("Cannot connect to host x ssl:" + " [" * 200_000))
    assert len(described) == 500
    assert time.process_time() - started < 1.0  # usually a few milliseconds
