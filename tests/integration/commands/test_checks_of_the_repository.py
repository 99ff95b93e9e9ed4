"""What ``check`` says if one thing about the repository or the settings is broken."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from app.butler.repository.connection import open_butler
from app.operations.checks.all_items import all_items
from app.operations.checks.items import Item, Verdict
from app.operations.checks.repository_items import (
    folder_items,
    repository_items,
    store_items,
)
from app.settings import SettingsError
from testbed.postgresql import PostgreSQL
from testbed.s3 import S3Door
from testbed.worker import faust_command
from tests.support.buckets import Bucket
from tests.support.checked import item_named, settings_from, wrong_items
from tests.support.events import make_repository
from tests.support.least_rights import DROP_ROLE, ROLE, ROLES, use_role


@dataclass
class Checked:
    """A repository that the role `ROLE` may use as a worker does."""

    server: PostgreSQL
    root: Path
    environment: dict[str, str]

    def items(self, **more: str) -> list[Item]:
        """Check the repository and the folders with further settings."""
        with settings_from({**self.environment, **more}) as settings:
            downstream = settings.downstream
            return [
                *repository_items(settings.write, downstream),
                *folder_items(settings.write, downstream),
            ]

    def sql(self, statement: str) -> None:
        """Execute a statement as the owner."""
        with self.server.connect("checked") as connection:
            connection.execute(statement)


@pytest.fixture(scope="module")
def checked(postgresql: PostgreSQL, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checked]:
    folder = tmp_path_factory.mktemp("checked")
    for name in ("lists", "staging"):
        (folder / name).mkdir()
    url = postgresql.create_database("checked")
    make_repository(folder / "repository", database=url).close()
    use_role(folder / "repository")
    found = Checked(
        postgresql,
        folder,
        {
            "BUTLER_REPOSITORY": str(folder / "repository"),
            "OUTPUT_DATASET_LIST_DIRECTORY": str(folder / "lists"),
            "BUTLER_WRITER_STAGING_ROOTS": str(folder / "staging"),
            "KAFKA_CLUSTER": "127.0.0.1:1",
            "KAFKA_TOPIC": "checked",
            "KAFKA_OUTPUT_TOPIC": "checked-ingested",
        },
    )
    found.sql(ROLES)
    yield found
    found.sql(DROP_ROLE)
    postgresql.drop_database("checked")


@pytest.mark.postgresql
def test_nothing_is_wrong_with_the_rights_of_a_worker(checked: Checked) -> None:
    items = checked.items()
    assert [item for item in items if item.verdict is not Verdict.OK] == []
    assert {"database", "schema versions", "clock", "list directory"} <= {i.name for i in items}
    assert not [*(checked.root / "repository").glob(".butler-writer*")]


@pytest.mark.postgresql
@pytest.mark.parametrize(
    ("right", "on"),
    [
        ("INSERT", "collection"),
        ("INSERT", "run"),
        ("INSERT", "collection_chain"),
        ("INSERT", "collection_summary_dataset_type"),
        ("INSERT", "dataset"),
        ("INSERT", "dataset_type"),
        ("INSERT", "dataset_tags_00000001"),
        ("INSERT", "dataset_location"),
        ("INSERT", "file_datastore_records"),
        ("INSERT", "dimension_graph_key"),
        ("INSERT", "visit"),
        ("INSERT", "visit_detector_region_skypix_overlap"),
        ("INSERT", '"group"'),
        ("SELECT", "detector"),
        ("UPDATE", "collection"),
        ("DELETE", "collection_chain"),
        ("USAGE", "collection_seq_collection_id"),
        ("USAGE", "dataset_type_seq_id"),
        ("USAGE", "dimension_graph_key_seq_id"),
    ],
)
def test_a_missing_grant_is_named(checked: Checked, right: str, on: str) -> None:
    kind = "SEQUENCE " if right == "USAGE" else ""
    checked.sql(f"REVOKE {right} ON {kind}{on} FROM {ROLE}")
    try:
        (item,) = wrong_items(checked.items())
    finally:
        checked.sql(f"GRANT {right} ON {kind}{on} TO {ROLE}")
    given = "SELECT, INSERT" if right in {"SELECT", "INSERT"} else right
    assert item.name == f"right on {kind}public.{on}"
    assert item.detail.endswith(f"; GRANT {given} ON {kind}public.{on} TO {ROLE}")


@pytest.mark.postgresql
@pytest.mark.parametrize(
    ("right", "on"), [("UPDATE", "visit"), ("DELETE", "visit_detector_region_skypix_overlap")]
)
def test_rights_to_replace_records_are_needed_only_where_they_are_replaced(
    checked: Checked, right: str, on: str
) -> None:
    downstream = {"BUTLER_WRITER_ROLE": "replicate", "BUTLER_WRITER_TRANSFER": "in-place"}
    replacing = {**downstream, "BUTLER_WRITER_CHANGED_RECORDS": "replace"}
    assert wrong_items(checked.items(**downstream)) == []
    grants = [item.detail.rpartition("; ")[2] for item in wrong_items(checked.items(**replacing))]
    named = f"GRANT {right} ON public.{on} TO {ROLE}"
    assert named in grants
    checked.sql("; ".join(grant for grant in grants if grant != named))
    try:
        (item,) = wrong_items(checked.items(**replacing))
    finally:
        revoked = (re.sub(r"^GRANT (.*) TO ", r"REVOKE \1 FROM ", grant) for grant in grants)
        checked.sql("; ".join(revoked))
    assert item.detail.endswith(f"; {named}")


@pytest.mark.postgresql
def test_no_right_is_asked_for_that_no_write_needs(checked: Checked) -> None:
    """Any of two rights gives the next number; the service certifies no calibrations."""
    sequence = "dimension_graph_key_seq_id"
    checked.sql(
        "CREATE SEQUENCE dataset_calibs_00000001_seq_id;"
        f"REVOKE USAGE ON SEQUENCE {sequence} FROM {ROLE};"
        f"GRANT UPDATE ON SEQUENCE {sequence} TO {ROLE}"
    )
    try:
        assert wrong_items(checked.items()) == []
    finally:
        checked.sql(
            "DROP SEQUENCE dataset_calibs_00000001_seq_id;"
            f"REVOKE UPDATE ON SEQUENCE {sequence} FROM {ROLE};"
            f"GRANT USAGE ON SEQUENCE {sequence} TO {ROLE}"
        )


@pytest.mark.postgresql
def test_a_schema_of_another_release_is_named(checked: Checked) -> None:
    where = "WHERE name LIKE 'version:%ByDimensionsDatasetRecordStorageManagerUUID'"
    checked.sql(f"UPDATE butler_attributes SET value = '9.0.0' {where}")
    try:
        (item,) = wrong_items(checked.items())
    finally:
        checked.sql(f"UPDATE butler_attributes SET value = '2.0.0' {where}")
    assert item.name == "schema versions"
    assert "9.0.0" in item.detail
    assert "migrate the schema" in item.detail


@pytest.mark.postgresql
def test_a_role_that_may_not_log_in_is_named(checked: Checked) -> None:
    checked.sql(f"ALTER ROLE {ROLE} NOLOGIN")
    try:
        (item,) = wrong_items(checked.items())
    finally:
        checked.sql(f"ALTER ROLE {ROLE} LOGIN")
    assert item.name == "database"
    assert f'role "{ROLE}" is not permitted to log in' in item.detail


@pytest.mark.postgresql
def test_a_clock_that_is_wrong_is_named(checked: Checked) -> None:
    with settings_from(checked.environment) as settings:
        items = repository_items(settings.write, clock=lambda: time.time() + 100)
    (item,) = wrong_items(items)
    assert item.name == "clock"
    assert "+100." in item.detail
    assert item.detail.endswith("set both right (NTP)")


@pytest.mark.postgresql
@pytest.mark.parametrize(
    ("changed", "name", "remedy"),
    [
        ({"BUTLER_REPOSITORY": "/nowhere"}, "database", "check BUTLER_REPOSITORY"),
        (
            {"OUTPUT_DATASET_LIST_DIRECTORY": "/proc/lists"},
            "list directory",
            "name a folder that this user may write to",
        ),
        (
            {"BUTLER_WRITER_STAGING_ROOTS": "/proc/staging"},
            "staging root file:///proc/staging/",
            "name folders that exist",
        ),
    ],
)
def test_a_wrong_setting_is_named(
    checked: Checked, changed: dict[str, str], name: str, remedy: str
) -> None:
    (item,) = wrong_items(checked.items(**changed))
    assert item.name == name
    assert remedy in item.detail


@pytest.mark.postgresql
def test_a_datastore_that_cannot_be_written_to_is_named(checked: Checked, tmp_path: Path) -> None:
    """Not even root can write to this folder.  Without staged files, no worker has to."""
    config = tmp_path / "butler.yaml"
    shutil.copy(checked.root / "repository" / "butler.yaml", config)
    config.write_text(config.read_text().replace("<butlerRoot>", "/proc/self"))
    (item,) = wrong_items(checked.items(BUTLER_REPOSITORY=str(config)))
    assert item.name == "datastore file:///proc/self/: put, delete"
    assert "grant the right to write and delete there" in item.detail
    unused = {"BUTLER_REPOSITORY": str(config), "BUTLER_WRITER_STAGING_ROOTS": ""}
    assert wrong_items(checked.items(**unused)) == []


@pytest.mark.postgresql
def test_a_bucket_that_cannot_be_listed_or_written_to_is_named(
    checked: Checked, tmp_path: Path, bucket: Bucket, s3_door: S3Door
) -> None:
    config = tmp_path / "butler.yaml"
    shutil.copy(checked.root / "repository" / "butler.yaml", config)
    config.write_text(config.read_text().replace("<butlerRoot>", bucket.root))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("S3_ENDPOINT_URL", s3_door.url)
        assert wrong_items(checked.items(BUTLER_REPOSITORY=str(config))) == []
        assert bucket.keys("") == []
        s3_door.may_list = False
        (item,) = wrong_items(checked.items(BUTLER_REPOSITORY=str(config)))
        assert item.name == f"datastore {bucket.root}: list"
        assert "grant the right to list it (S3: s3:ListBucket)" in item.detail
        s3_door.may_list, s3_door.refuses_key = True, True
        (item,) = wrong_items(checked.items(BUTLER_REPOSITORY=str(config)))
        assert item.name == f"datastore {bucket.root}"
        assert "AWS_" in item.detail


@pytest.mark.postgresql
def test_a_datastore_that_is_not_mounted_is_not_checked(checked: Checked, tmp_path: Path) -> None:
    config = tmp_path / "butler.yaml"
    shutil.copy(checked.root / "repository" / "butler.yaml", config)
    config.write_text(config.read_text().replace("<butlerRoot>", str(tmp_path / "store")))
    with settings_from({**checked.environment, "BUTLER_REPOSITORY": str(config)}) as settings:
        butler = open_butler(str(config), settings.write)
        (tmp_path / "store").rmdir()
        (item,) = store_items(butler, settings.write)
    assert item.verdict is Verdict.NOT_CHECKED
    assert item.detail.endswith("is it mounted?")


@pytest.mark.parametrize(
    ("variable", "value", "remedy"),
    [
        ("BUTLER_WRITER_WINDOW_SECONDS", "soon", "give a number alone"),
        ("BUTLER_WRITER_WINDOW_EVENTS", "0", "greater than or equal to 1"),
        ("BUTLER_WRITER_KAFKA_TLS", "perhaps", "set it to true or false"),
        ("KAFKA_TOPIC", "two words", "use up to 230 letters"),
        ("KAFKA_CLUSTER", "broker:port", "not host:port"),
        ("BUTLER_WRITER_CHAIN_PATTERN", "^(.+)/", "must have a group (?P<chain>...)"),
        ("BUTLER_WRITER_FILE_CHECK", "never", "'all', 'sample' or 'none'"),
    ],
)
def test_a_setting_that_cannot_be_read_is_named(variable: str, value: str, remedy: str) -> None:
    with pytest.raises(SettingsError) as raised, settings_from({variable: value}):
        pass
    assert str(raised.value).startswith(f"{variable}=")
    assert remedy in str(raised.value)


@pytest.mark.parametrize(
    ("changed", "remedy"),
    [
        ({"KAFKA_TOPIC": ""}, "not set: KAFKA_TOPIC; .env.example describes every variable"),
        ({"KAFKA_USERNAME": "writer"}, "KAFKA_USERNAME and KAFKA_PASSWORD go together"),
        ({"KAFKA_OUTPUT_TOPIC": "t"}, "set one of them to another name"),
        ({"BUTLER_WRITER_WINDOW_SECOND": "1"}, "did you mean BUTLER_WRITER_WINDOW_SECONDS?"),
        ({"WRITER_DEBUG_LEVEL": "LOUD"}, "set DEBUG, INFO, WARNING, ERROR or CRITICAL"),
    ],
)
async def test_settings_that_do_not_fit_are_named(
    tmp_path: Path, changed: dict[str, str], remedy: str
) -> None:
    environment = {
        "BUTLER_REPOSITORY": "/nowhere",
        "OUTPUT_DATASET_LIST_DIRECTORY": str(tmp_path),
        "KAFKA_CLUSTER": "127.0.0.1:1",
        "KAFKA_TOPIC": "t",
        "KAFKA_OUTPUT_TOPIC": "t-ingested",
        "BUTLER_WRITER_DATA_DIRECTORY": str(tmp_path),
    }
    from app.kafka.connection import KafkaConnection

    with settings_from({**environment, **changed}) as settings:
        items = await all_items(KafkaConnection.of(settings.kafka), settings)
    item = item_named(items, "settings")
    assert item.verdict is Verdict.WRONG
    assert remedy in item.detail


def test_the_command_reports_settings_that_cannot_be_read_as_an_item() -> None:
    environment = {"BUTLER_WRITER_WINDOW_SECONDS": "soon"}
    printed = faust_command(environment, "check")
    assert printed.returncode == 1
    assert printed.stdout.splitlines()[1].startswith("wrong    settings  BUTLER_WRITER_WINDOW_SEC")
    document = json.loads(faust_command(environment, "--json", "check").stdout)
    assert document["summary"] == {"ok": 0, "wrong": 1, "not checked": 0}
    other = faust_command(environment, "--json", "status")
    assert other.returncode == 1
    assert json.loads(other.stdout)["error"] in other.stderr
