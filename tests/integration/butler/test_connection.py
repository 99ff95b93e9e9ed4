"""Opening a repository, and a database that is busy, killed or restarted."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import sqlalchemy
from lsst.daf.butler import Config

from app.butler.failures import RetryableError
from app.butler.policy import WriteMethod, WritePolicy
from app.butler.private.registry import engine_of
from app.butler.repository.connection import RepositoryError, open_butler
from app.butler.sessions import answers
from app.butler.sessions.messages import deferring, send_waiting
from app.butler.statements import Insertion, insert_rows
from app.butler.writer import ButlerWriter
from testbed.postgresql import PostgreSQL
from testbed.sent_messages import sent_messages
from testbed.waiting import wait_until
from testbed.writing import write_window
from tests.support.events import Night, dataset_ids, make_repository
from tests.support.repositories import Repository, decoded, written

both_methods = pytest.mark.parametrize("write_method", list(WriteMethod))
only_postgresql = pytest.mark.postgresql

#: Messages that declare a server-side cursor.
_DECLARATION = {"Parse", "Bind", "Describe", "Execute", "Sync"}

SHOW = "SELECT current_setting('statement_timeout'), current_setting('lock_timeout')"


@only_postgresql
def test_statements_have_a_timeout_in_every_transaction_and_not_outside(
    postgresql_repository: Repository,
) -> None:
    butler = postgresql_repository.butler(WritePolicy(statement_timeout=61.5, lock_timeout=7.25))
    for each in (butler, butler.clone()):
        with engine_of(each).connect() as connection:
            for _ in range(2):
                with connection.begin():
                    bounds = connection.exec_driver_sql(SHOW).one()
                assert tuple(bounds) == ("61500ms", "7250ms")
            # As the next client of a connection pooler would see it.
            raw = connection.connection.cursor()
            raw.execute(SHOW)
            assert raw.fetchone() == ("0", "0")


@only_postgresql
def test_a_transaction_that_begins_by_itself_begins_with_its_first_statement(
    postgresql_repository: Repository,
) -> None:
    """SQLAlchemy makes the cursor of that statement before it begins the transaction."""
    engine = engine_of(postgresql_repository.butler(WritePolicy(statement_timeout=61.5)))
    many = sqlalchemy.text(SHOW).execution_options(yield_per=1)
    for statement in [sqlalchemy.text(SHOW), many] * 2:  # the later ones in a session that was used
        with engine.connect() as connection:
            for _ in range(2):
                assert connection.execute(statement).one()[0] == "61500ms"
                connection.rollback()


@only_postgresql
def test_a_plan_that_was_made_for_a_small_table_does_not_scan_it_once_it_has_grown(
    postgresql_repository: Repository,
) -> None:
    """PostgreSQL keeps the plan of a foreign key check until the statistics change."""
    policy = WritePolicy()
    butler = postgresql_repository.butler(policy)
    writer, night = ButlerWriter(butler, policy), postgresql_repository.night()
    small, large = [night.event(1, 0)], [night.event(visit, 0) for visit in range(2, 60)]
    rows = len(dataset_ids(*small, *large))

    postgresql_repository.sql("ANALYZE dataset")  # while it is empty
    for events in (small, large):
        assert written(write_window(writer, decoded(*events)), len(events) - 1)
    engine_of(butler).dispose()  # the server counts a session's work when it ends

    look = "SELECT (n_tup_ins, seq_tup_read) FROM pg_stat_user_tables WHERE relname = 'dataset'"
    wait_until(lambda: postgresql_repository.sql(look)[0][0] == str(rows), 30, "all is counted")
    assert int(postgresql_repository.sql(look)[0][1]) <= rows


@only_postgresql
@both_methods
def test_a_write_sends_each_request_as_one_message(
    postgresql_repository: Repository, write_method: WriteMethod
) -> None:
    """Between two messages the server would wait for a frozen worker, which holds its locks."""
    policy = WritePolicy(write_method=write_method)
    butler = postgresql_repository.butler(policy)
    with sent_messages(engine_of(butler)) as sent:
        night = postgresql_repository.night()
        events = [night.event(visit, detector) for visit in (1, 2) for detector in range(4)]
        assert written(
            write_window(ButlerWriter(butler, policy), decoded(*events)), len(events) - 1
        )
    assert sum("INSERT INTO public.dataset " in message[-1] for message in sent) > 0
    several = [(name, int(length)) for _, _, length, name, *_ in sent if name != "Query"]
    # A server-side cursor takes a few small messages, which one system call sends.
    assert {name for name, _ in several} <= _DECLARATION
    assert all(length < 4096 for _, length in several)
    if write_method is WriteMethod.RECORDS:
        assert several == []


@only_postgresql
def test_a_text_that_is_too_long_for_its_column_is_refused_and_not_truncated(
    postgresql_repository: Repository,
) -> None:
    names = sqlalchemy.Table(
        "names", sqlalchemy.MetaData(), sqlalchemy.Column("name", sqlalchemy.String(4))
    )
    with engine_of(postgresql_repository.butler()).begin() as connection:
        names.create(connection)
        insert_rows(connection, [Insertion(names, ["name"], [("four",), (None,)])])
        assert connection.execute(names.select()).all() == [("four",), (None,)]
        insert_rows(connection, [Insertion(names, ["name"], [("five5",)])])
        with pytest.raises(sqlalchemy.exc.DataError, match="too long"):
            send_waiting(connection)


@only_postgresql
def test_rows_that_are_sent_together_arrive_unchanged_and_are_counted(
    postgresql_repository: Repository,
) -> None:
    names = ["100%", "%(name)s", "a;b", "it's", "back\\slash", ":name", "100%"]
    insert = sqlalchemy.text("INSERT INTO names VALUES (:name) ON CONFLICT DO NOTHING")
    with engine_of(postgresql_repository.butler()).begin() as connection:
        connection.exec_driver_sql("CREATE TEMPORARY TABLE names (name TEXT PRIMARY KEY)")
        counted = connection.execution_options(preserve_rowcount=True).execute(
            insert, [{"name": name} for name in names]
        )
        assert counted.rowcount == len(set(names))
        found = connection.exec_driver_sql("SELECT name FROM names").scalars()
        assert set(found) == set(names)


@only_postgresql
@pytest.mark.parametrize(
    ("second", "most"), [((1, 1), 8), ((2, 0), 12)], ids=["known visit", "new visit"]
)
def test_a_window_of_one_event_takes_few_round_trips(
    postgresql_repository: Repository, second: tuple[int, int], most: int
) -> None:
    """On a distant database, they are what such a window takes."""
    butler = postgresql_repository.butler()
    night = postgresql_repository.night()
    writer = ButlerWriter(butler, WritePolicy())
    written(write_window(writer, decoded(night.event())))
    with sent_messages(engine_of(butler)) as sent:
        written(write_window(writer, decoded(night.event(*second))))
    assert len(sent) <= most


@only_postgresql
def test_a_window_too_large_for_one_message_takes_no_more_transactions(
    postgresql_repository: Repository,
) -> None:
    """A message of inserts that wait has an upper limit."""
    butler = postgresql_repository.butler()
    night = postgresql_repository.night()
    writer = ButlerWriter(butler, WritePolicy())
    transactions, lengths = [], []
    for visits in (range(1, 2), range(2, 3), range(3, 28)):
        events = [night.event(visit, detector) for visit in visits for detector in range(12)]
        with sent_messages(engine_of(butler)) as sent:
            written(write_window(writer, decoded(*events)), len(events) - 1)
        transactions.append(sum("BEGIN;" in message[-1] for message in sent))
        lengths.append(sum(int(message[2]) for message in sent))
    assert transactions[2] == transactions[1] == 2, "one is for the shared rows"
    assert lengths[2] > 1_500_000


@pytest.fixture
def numbers(postgresql_repository: Repository) -> sqlalchemy.Table:
    """A table that takes each number once."""
    column = sqlalchemy.Column("number", sqlalchemy.BigInteger, primary_key=True)
    table = sqlalchemy.Table("numbers", sqlalchemy.MetaData(), column)
    with engine_of(postgresql_repository.reader).begin() as connection:
        table.create(connection)
    return table


@only_postgresql
@pytest.mark.parametrize("is_committed", [True, False])
def test_inserts_that_wait_are_sent_with_the_commit_and_dropped_with_a_rollback(
    postgresql_repository: Repository, numbers: sqlalchemy.Table, is_committed: bool
) -> None:
    engine = engine_of(postgresql_repository.butler())
    with engine.connect() as connection:
        for number in range(3):  # on the same connection
            with connection.begin() as transaction, deferring(connection):
                connection.execute(numbers.insert(), {"number": number})
                if not is_committed:
                    transaction.rollback()
        found = connection.execute(numbers.select().order_by("number")).scalars().all()
    assert found == ([0, 1, 2] if is_committed else [])


@only_postgresql
def test_inserts_that_are_too_long_to_wait_are_sent_once_and_in_order(
    postgresql_repository: Repository, numbers: sqlalchemy.Table
) -> None:
    engine = engine_of(postgresql_repository.butler())
    given = list(range(200_000))
    parts = [given[:10], given[10:150_000], given[150_000:]]
    insertions = [Insertion(numbers, ["number"], [(n,) for n in part]) for part in parts]
    with engine.begin() as connection:
        insert_rows(connection, insertions)
    with engine.begin() as connection:
        assert set(connection.execute(numbers.select()).scalars()) == set(given)


@only_postgresql
def test_an_insert_that_fails_with_the_commit_fails_the_transaction(
    postgresql_repository: Repository, numbers: sqlalchemy.Table
) -> None:
    engine = engine_of(postgresql_repository.butler())
    twice = [{"number": 1}, {"number": 2}, {"number": 1}]
    with (
        pytest.raises(sqlalchemy.exc.IntegrityError),
        engine.begin() as connection,
        deferring(connection),
    ):
        connection.execute(numbers.insert(), twice)
    with engine.begin() as connection:
        assert connection.execute(numbers.select()).all() == []


@only_postgresql
def test_each_insert_of_a_message_has_the_time_of_a_statement(
    postgresql_repository: Repository,
    numbers: sqlalchemy.Table,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(answers, "MARGIN_SECONDS", 0.1)
    engine = engine_of(postgresql_repository.butler(WritePolicy(statement_timeout=0.4)))
    slow = sqlalchemy.text("INSERT INTO numbers SELECT :number FROM pg_sleep(0.15)")
    with engine.begin() as connection, deferring(connection):
        connection.execute(slow, [{"number": number} for number in range(12)])
    with engine.begin() as connection:
        assert len(connection.execute(numbers.select()).all()) == 12


@only_postgresql
def test_inserts_that_wait_are_dropped_with_their_savepoint(
    postgresql_repository: Repository, numbers: sqlalchemy.Table
) -> None:
    engine = engine_of(postgresql_repository.butler())
    with engine.begin() as connection, deferring(connection):
        connection.execute(numbers.insert(), {"number": 1})
        savepoint = connection.begin_nested()
        connection.execute(numbers.insert(), {"number": 1})
        savepoint.rollback()
        connection.execute(numbers.insert(), {"number": 2})
        assert set(connection.execute(numbers.select()).scalars()) == {1, 2}


@only_postgresql
def test_a_transaction_without_statements_leaves_the_connection_usable(
    postgresql_repository: Repository,
) -> None:
    engine = engine_of(postgresql_repository.butler())
    for _ in range(3):
        with engine.connect() as connection, connection.begin():
            pass
        with engine.begin() as connection:
            assert connection.exec_driver_sql(SHOW).one()[0] == "20s"


@only_postgresql
def test_a_statement_that_takes_too_long_is_cancelled(postgresql_repository: Repository) -> None:
    butler = postgresql_repository.butler(WritePolicy(statement_timeout=0.2))
    with (
        engine_of(butler).begin() as connection,
        pytest.raises(sqlalchemy.exc.OperationalError, match="statement timeout"),
    ):
        connection.exec_driver_sql("SELECT pg_sleep(30)")


@only_postgresql
@both_methods
def test_waiting_for_a_lock_has_a_timeout(
    postgresql_repository: Repository, write_method: WriteMethod
) -> None:
    repository = postgresql_repository
    event = Night(repository.root).event()
    writer = repository.writer(write_method=write_method, lock_timeout=0.3)
    with engine_of(repository.reader).begin() as other:
        other.exec_driver_sql("LOCK TABLE dataset IN ACCESS EXCLUSIVE MODE")
        started = time.monotonic()
        with pytest.raises(RetryableError, match="lock timeout"):
            write_window(writer, decoded(event))
        assert 0.3 <= time.monotonic() - started < 20
    written(write_window(writer, decoded(event)))
    assert repository.stored() == Counter(dataset_ids(event))


@only_postgresql
def test_connections_have_keepalive_parameters(postgresql_repository: Repository) -> None:
    butler = postgresql_repository.butler()
    with engine_of(butler).connect() as connection:
        parameters = connection.connection.driver_connection.info.get_parameters()  # type: ignore[union-attr]
    assert {k: parameters.get(k) for k in ("keepalives_idle", "tcp_user_timeout")} == {
        "keepalives_idle": "30",
        "tcp_user_timeout": "60000",
    }


@only_postgresql
def test_connection_parameters_in_the_url_are_kept(
    postgresql_repository: Repository,
) -> None:
    config = postgresql_repository.root / "butler.yaml"
    text = config.read_text()
    (line,) = (line for line in text.splitlines() if "postgresql://" in line)
    config.write_text(text.replace(line, f"{line}?keepalives_idle=77&application_name=writer"))
    with engine_of(postgresql_repository.butler()).connect() as connection:
        parameters = connection.connection.driver_connection.info.get_parameters()  # type: ignore[union-attr]
    assert parameters["keepalives_idle"] == "77"
    assert parameters["application_name"] == "writer"
    assert parameters["keepalives_count"] == "3"


@contextmanager
def at_the_last_insert(call: Callable[[sqlalchemy.Connection], object]) -> Iterator[None]:
    """Make a call, once, just before the datastore records are inserted."""
    calls = [call]

    def before(
        connection: sqlalchemy.Connection, cursor: object, statement: str, *more: object
    ) -> None:
        if "INSERT INTO public.file_datastore_records" in statement and calls:
            calls.pop()(connection)

    sqlalchemy.event.listen(sqlalchemy.Engine, "before_cursor_execute", before)
    try:
        yield
    finally:
        sqlalchemy.event.remove(sqlalchemy.Engine, "before_cursor_execute", before)
    assert not calls, "no datastore record was inserted"


@only_postgresql
@both_methods
def test_a_writer_continues_after_the_server_was_killed_in_a_transaction(
    private_postgresql: PostgreSQL, tmp_path: Path, write_method: WriteMethod
) -> None:
    root = tmp_path / "repository"
    make_repository(root, database=private_postgresql.create_database("butler")).close()
    repository = Repository(root)
    events = [Night(root).event(visit, detector) for visit in (1, 2) for detector in range(3)]
    before, window = decoded(*events[:3]), decoded(*events[3:])
    writer = repository.writer(write_method=write_method)
    write_window(writer, before)

    with (
        at_the_last_insert(lambda connection: private_postgresql.kill()),
        pytest.raises(RetryableError) as raised,
    ):
        write_window(writer, window)
    assert not raised.value.alarm
    with pytest.raises(RetryableError):
        write_window(writer, window)

    private_postgresql.start()
    assert repository.stored() == Counter(dataset_ids(*events[:3]))
    report = write_window(writer, window)
    assert report.inserted == len(dataset_ids(*events[3:]))
    assert repository.stored() == Counter(dataset_ids(*events))
    repository.close()


@only_postgresql
@both_methods
def test_a_writer_continues_after_its_connection_was_terminated_in_a_transaction(
    postgresql: PostgreSQL, postgresql_repository: Repository, write_method: WriteMethod
) -> None:
    repository = postgresql_repository
    events = [Night(repository.root).event(detector=detector) for detector in range(3)]
    writer = repository.writer(write_method=write_method)

    def end(connection: sqlalchemy.Connection) -> None:
        pid = connection.connection.driver_connection.info.backend_pid  # type: ignore[union-attr]
        with postgresql.connect() as other:
            assert other.execute("SELECT pg_terminate_backend(%s, 5000)", [pid]).fetchone() == (
                True,
            )

    with at_the_last_insert(end), pytest.raises(RetryableError):
        write_window(writer, decoded(*events))
    assert repository.stored() == Counter()
    report = write_window(writer, decoded(*events))
    assert report.inserted == len(dataset_ids(*events))
    assert repository.stored() == Counter(dataset_ids(*events))


def test_the_error_names_a_missing_repository(tmp_path: Path) -> None:
    missing = str(tmp_path / "nowhere")
    with pytest.raises(RepositoryError, match="nowhere") as raised:
        open_butler(missing, WritePolicy())
    check_one_line(raised.value)
    assert str(raised.value).startswith(f"cannot open the repository {missing!r}: FileNotFound")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("datastore/cls", "lsst.analysis.tools.SasquatchDatastore"),
        ("registry/managers/opaque", "no_such_package.Manager"),
    ],
)
def test_the_error_names_a_missing_package_that_the_configuration_needs(
    sqlite_repository: Repository, key: str, value: str
) -> None:
    config = sqlite_repository.root / "butler.yaml"
    before = Config(str(config))
    before[tuple(key.split("/"))] = value
    before.dumpToUri(str(config))
    with pytest.raises(RepositoryError) as raised:
        open_butler(str(sqlite_repository.root), WritePolicy())
    check_one_line(raised.value)
    assert "needs a package that is not installed" in str(raised.value)
    assert value in str(raised.value)


def test_the_error_names_a_repository_with_an_invalid_configuration(
    sqlite_repository: Repository,
) -> None:
    (sqlite_repository.root / "butler.yaml").write_text("registry: [")
    with pytest.raises(RepositoryError, match="cannot open the repository") as raised:
        open_butler(str(sqlite_repository.root), WritePolicy())
    check_one_line(raised.value)


@only_postgresql
def test_the_error_does_not_contain_a_password(
    postgresql_repository: Repository, postgresql: PostgreSQL
) -> None:
    config = postgresql_repository.root / "butler.yaml"
    text = config.read_text().replace("postgres@127.0.0.1", "nobody:s3cret@127.0.0.1")
    config.write_text(text)
    with pytest.raises(RepositoryError, match="nobody") as raised:
        open_butler(str(postgresql_repository.root), WritePolicy())
    check_one_line(raised.value)
    assert "s3cret" not in str(raised.value)


def check_one_line(error: Exception) -> None:
    assert "\n" not in str(error)
    assert len(str(error)) < 1000


@only_postgresql
def test_no_connection_that_was_opened_while_the_database_was_read_only_is_used_again(
    postgresql: PostgreSQL, postgresql_repository: Repository
) -> None:
    """As after a failover, when the pooled connections lead to a server that is read-only."""
    repository = postgresql_repository
    writer, engine = repository.writer(), engine_of(repository._butlers[-1])
    first, second = (repository.night().event(1, detector) for detector in range(2))
    written(write_window(writer, decoded(first)))
    change = f"ALTER DATABASE {engine.url.database} SET default_transaction_read_only"

    with postgresql.connect() as other:
        other.execute(f"{change} = on".encode())
        engine.dispose()
        with ExitStack() as stack:
            for _ in range(3):
                stack.enter_context(engine.connect())
        other.execute(f"{change} = off".encode())

    with pytest.raises(RetryableError, match="read-only"):
        write_window(writer, decoded(second))
    written(write_window(writer, decoded(second)))
    assert repository.stored() == Counter(dataset_ids(first, second))
