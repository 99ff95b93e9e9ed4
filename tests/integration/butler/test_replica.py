"""The write of a downstream repository, from messages of the product log."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from lsst.daf.butler import Butler, CollectionType, Config, DatasetType

from agents.released_events import ReleasedContent
from app.butler.events.limits import EventLimits
from app.butler.failures import RetryableError
from app.butler.outcome import WriteReport, Written
from app.butler.policy import ReplicaPolicy, TagWinner, Transfer, WriteMethod, WritePolicy
from app.butler.private.registry import engine_of
from app.butler.repository.chains import ChainKeeper
from app.butler.repository.connection import RepositoryError
from app.butler.repository.tags import register_tag
from app.butler.writer import ButlerWriter
from app.downstream.selection import Release
from app.errors import OperatorError
from models.causes import Cause
from models.product import Products
from models.prompt_output import PromptOutput
from testbed.tables import check_same, tables_of
from testbed.writing import write_window
from tests.integration.butler.test_products import write
from tests.support.downstream import selected
from tests.support.events import DETECTORS, RUN, dataset_type, encode
from tests.support.product_import import import_products
from tests.support.repositories import Repository, rejection, written

TAG = "Prompt/Available/Outputs"

#: The database makes no difference.
ON_SQLITE = pytest.mark.parametrize("repository", ["sqlite"], indirect=True)


@pytest.fixture
def make_empty(
    request: pytest.FixtureRequest, repository: Repository, tmp_path: Path
) -> Iterator[Callable[[str], Butler]]:
    """Makes repositories without anything, on the same kind of database."""
    on_postgresql = engine_of(repository.reader).dialect.name == "postgresql"
    with ExitStack() as stack:

        def make(name: str) -> Butler:
            config = Config()
            if on_postgresql:
                server = request.getfixturevalue("postgresql")
                database = f"{name}_{repository.root.parent.name}".lower()[:60]
                config["registry", "db"] = server.create_database(database)
                stack.callback(server.drop_database, database)
            Butler.makeRepo(str(tmp_path / name), config=config)
            return stack.enter_context(
                closing(Butler.from_config(str(tmp_path / name), writeable=True))
            )

        yield make


@pytest.fixture
def target(make_empty: Callable[[str], Butler]) -> Butler:
    return make_empty("target")


def root_of(butler: Butler) -> Path:
    return Path(butler._datastore.root.ospath)  # type: ignore[attr-defined]


def log_of(repository: Repository, visits: Sequence[int] = (1,), run: str = RUN) -> list[Products]:
    """Write visits into the source; return the messages of the product log."""
    night = repository.night(run)
    writer = repository.writer()
    windows = ([night.event(visit, n) for n in range(DETECTORS)] for visit in visits)
    return [message for events in windows for message in write(writer, events)]


def replicate(
    target: Butler,
    source: Repository,
    messages: Sequence[Products],
    transfer: Transfer = Transfer.COPY,
    *,
    tag: str | None = None,
    winner: TagWinner = TagWinner.NEWEST,
    method: WriteMethod = WriteMethod.RECORDS,
    replaces: bool = False,
) -> WriteReport[int]:
    """Release messages to the target in one window, and put their runs into chains."""
    replica = ReplicaPolicy(
        source_root=str(source.root), transfer=transfer, tag=tag, tag_winner=winner
    )
    staging = replica.staging
    policy = replica.policy_of(WritePolicy(missing_file_wait=0.001, write_method=method))
    own = target.clone()
    content = [
        ReleasedContent(
            Release(m.datasets, m.dimension_records, m.dataset_types, m.chains),
            None if staging is None else str(staging),
            replaces,
        )
        for m in messages
    ]
    report = write_window(
        ButlerWriter(own, policy, EventLimits.without_any(), replica=replica), content
    )
    outcomes = [each for each in report.outcomes.values() if isinstance(each, Written)]
    ChainKeeper(own).ensure([pair for each in outcomes for pair in each.chains])
    return report


def ids(messages: Sequence[Products]) -> set[UUID]:
    return {UUID(i) for message in messages for file in message.datasets for i in file["refs"]}


def stored(butler: Butler, collection: str = RUN) -> set[UUID]:
    butler.registry.refresh()
    return {ref.id for ref in butler.query_all_datasets(collection, limit=None)}


@pytest.mark.parametrize(
    ("repository", "transfer", "method"),
    [
        ("sqlite", Transfer.COPY, WriteMethod.RECORDS),
        pytest.param(
            "postgresql", Transfer.COPY, WriteMethod.RECORDS, marks=pytest.mark.postgresql
        ),
        ("sqlite", Transfer.HARDLINK, WriteMethod.RECORDS),
        pytest.param(
            "postgresql", Transfer.DIRECT, WriteMethod.RECORDS, marks=pytest.mark.postgresql
        ),
        ("sqlite", Transfer.DIRECT, WriteMethod.PUBLIC),
        ("sqlite", Transfer.IN_PLACE, WriteMethod.RECORDS),
    ],
    indirect=["repository"],
)
def test_the_target_has_the_rows_that_butler_writes(
    repository: Repository,
    make_empty: Callable[[str], Butler],
    transfer: Transfer,
    method: WriteMethod,
) -> None:
    target, expected = make_empty("target"), make_empty("expected")
    messages = log_of(repository)
    if transfer is Transfer.IN_PLACE:
        shutil.copytree(repository.root / RUN, root_of(target) / RUN)
    # Once more: redelivery changes nothing.
    for _ in range(2):
        report = replicate(target, repository, messages, transfer, method=method)
        assert all(isinstance(each, Written) for each in report.outcomes.values()), report
    assert report.inserted == 0
    refers = transfer is Transfer.DIRECT
    import_products(expected, messages, repository.root, refers=refers)
    check_same(tables_of(engine_of(target)), tables_of(engine_of(expected)))
    assert (root_of(target) / RUN).exists() is not refers
    for ref in target.query_all_datasets(RUN, limit=None):
        assert target.get(ref) == dict(ref.dataId.required)
    path = messages[0].datasets[0]["path"]
    assert (repository.root / path).exists()


@pytest.mark.parametrize(
    ("repository", "transfer"),
    [("sqlite", Transfer.COPY), ("sqlite", Transfer.HARDLINK)],
    indirect=["repository"],
)
def test_links_in_the_source_are_followed(
    repository: Repository, target: Butler, monkeypatch: pytest.MonkeyPatch, transfer: Transfer
) -> None:
    """The source belongs to operators, unlike the staging area of pods."""
    messages = log_of(repository)
    path = messages[0].datasets[0]["path"]
    elsewhere = repository.root.parent / "moved"
    (repository.root / path).rename(elsewhere)
    (repository.root / path).symlink_to(elsewhere)
    os.link(elsewhere, repository.root.parent / "the file of another owner")
    fstat = os.fstat

    def told(descriptor: int) -> os.stat_result:
        status = fstat(descriptor)
        if status.st_nlink == 1 or not stat.S_ISREG(status.st_mode):
            return status
        return os.stat_result([*status[:4], status.st_uid + 1, *status[5:]])

    monkeypatch.setattr(os, "fstat", told)
    report = replicate(target, repository, messages, transfer)
    monkeypatch.undo()
    assert written(report).left_out is None
    assert stored(target) == ids(messages)
    assert not (root_of(target) / path).is_symlink()
    assert (root_of(target) / path).read_bytes() == elsewhere.read_bytes()
    assert elsewhere.samefile(root_of(target) / path) is (transfer is Transfer.HARDLINK)


@ON_SQLITE
def test_a_detector_that_comes_late_is_complete(repository: Repository, target: Butler) -> None:
    night, writer = repository.night(), repository.writer()
    for detector in (0, 5):
        replicate(target, repository, write(writer, [night.event(1, detector)]))
    with target.query() as query:
        regions = query.dimension_records("visit_detector_region")
        assert {record.detector for record in regions} == {0, 5}


@ON_SQLITE
def test_what_is_gone_from_the_source_holds_up_nothing_else(
    repository: Repository, target: Butler
) -> None:
    messages = log_of(repository, visits=(1, 2))
    gone = messages[0].datasets[3]
    content = (repository.root / gone["path"]).read_bytes()
    (repository.root / gone["path"]).unlink()
    report = replicate(target, repository, messages)
    left_out = written(report).left_out
    assert left_out is not None
    assert left_out.cause is Cause.MISSING_SOURCE_FILE
    assert gone["path"] in left_out.reason
    assert written(report, 1).left_out is None
    assert stored(target) == ids(messages) - {UUID(i) for i in gone["refs"]}

    (repository.root / gone["path"]).write_bytes(content)
    assert replicate(target, repository, messages).inserted == 1
    assert stored(target) == ids(messages)


@ON_SQLITE
@pytest.mark.parametrize("transfer", [Transfer.COPY, Transfer.DIRECT])
def test_a_message_without_any_file_is_rejected_unless_the_source_is_not_mounted(
    repository: Repository, target: Butler, transfer: Transfer
) -> None:
    messages = log_of(repository)
    shutil.rmtree(repository.root / RUN)
    refused = rejection(replicate(target, repository, messages, transfer))
    assert refused.cause is Cause.MISSING_SOURCE_FILE
    elsewhere = replace(repository, root=repository.root.parent / "elsewhere")
    with pytest.raises(RetryableError, match="elsewhere/ does not exist"):
        replicate(target, elsewhere, messages, transfer)
    elsewhere.root.mkdir()  # a mount point is there all the same
    with pytest.raises(RetryableError, match=r"elsewhere/ is empty; is it mounted\?"):
        replicate(target, elsewhere, messages, transfer)


@ON_SQLITE
@pytest.mark.parametrize("transfer", [Transfer.COPY, Transfer.HARDLINK, Transfer.DIRECT])
def test_the_log_of_a_target_that_refers_to_its_files_can_be_read(
    repository: Repository, make_empty: Callable[[str], Butler], transfer: Transfer
) -> None:
    """It has absolute URIs, which are inside the root of the first source."""
    messages = log_of(repository)
    referring = [
        replace(
            message,
            datasets=[
                {**file, "path": (repository.root / file["path"]).as_uri()}
                for file in message.datasets
            ],
        )
        for message in messages
    ]
    target, expected = make_empty("target"), make_empty("expected")
    replicate(target, repository, referring, transfer)
    replicate(expected, repository, messages, transfer)
    assert stored(target) == ids(messages)
    check_same(tables_of(engine_of(target)), tables_of(engine_of(expected)))
    for ref in target.query_all_datasets(RUN, limit=None):
        assert target.get(ref) == dict(ref.dataId.required)


@ON_SQLITE
def test_a_dataset_type_that_differs_holds_up_no_other(
    repository: Repository, target: Butler
) -> None:
    messages = log_of(repository)
    name = "isr_log"
    other = DatasetType(name, ("instrument", "visit"), "Exposure", universe=target.dimensions)
    assert other != dataset_type(name, target.dimensions)
    target.registry.registerDatasetType(other)
    report = replicate(target, repository, messages)
    left_out = written(report).left_out
    assert left_out is not None
    assert left_out.cause is Cause.CONFLICT
    assert name in left_out.reason
    refused = selected(messages, name)
    assert stored(target) == ids(messages) - ids(refused)
    assert {*written(report).dataset_ids} == ids(messages) - ids(refused)
    assert rejection(replicate(target, repository, refused)).cause is Cause.CONFLICT


@pytest.mark.parametrize(
    "repository",
    ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)],
    indirect=True,
)
def test_a_data_id_that_is_taken_holds_up_no_other(repository: Repository, target: Butler) -> None:
    (message,) = log_of(repository)
    taken = message.datasets[3]
    ((dataset_id, ref),) = taken["refs"].items()
    first = {**taken, "refs": {str(uuid4()): ref}}
    replicate(target, repository, [replace(message, datasets=[first])])
    before = stored(target)
    report = replicate(target, repository, [message])
    left_out = written(report).left_out
    assert left_out is not None
    assert left_out.cause is Cause.CONFLICT
    assert dataset_id in left_out.reason
    others = ids([message]) - {UUID(dataset_id)}
    assert stored(target) == before | others
    assert {*written(report).dataset_ids} == others
    assert report.inserted == len(others)
    alone = [replace(message, datasets=[taken])]
    assert rejection(replicate(target, repository, alone)).cause is Cause.CONFLICT


@ON_SQLITE
def test_an_event_of_a_pod_with_a_conflict_is_refused_as_a_whole(repository: Repository) -> None:
    night, writer = repository.night(), repository.writer()
    first, second = night.event(1, 0), night.event(1, 0)
    del first["datasets"][1:]
    (ref,) = second["datasets"][0]["refs"].values()
    second["datasets"][0]["refs"] = {str(uuid4()): ref}
    write(writer, [first])
    before = stored(repository.reader)
    report = write_window(writer, [PromptOutput.decode(encode(second))])
    assert rejection(report).cause is Cause.CONFLICT
    assert stored(repository.reader) == before


def tagged(
    target: Butler, source: Repository, messages: Sequence[Products], winner: TagWinner
) -> int:
    """Release messages with the tag; return how many datasets do not have it."""
    report = replicate(target, source, messages, tag=TAG, winner=winner)
    assert all(isinstance(each, Written) for each in report.outcomes.values()), report
    return report.lost_tags


@pytest.mark.parametrize("winner", TagWinner)
def test_one_of_several_datasets_with_a_data_id_has_the_tag(
    repository: Repository, target: Butler, winner: TagWinner
) -> None:
    """Which one does not depend on what is written again."""
    first = log_of(repository)
    second = log_of(repository, run="again")
    third = log_of(repository, visits=(2,))
    lost = [
        tagged(target, repository, messages, winner)
        for messages in (first, second, first, third, second)
    ]
    number = len(ids(first))
    is_newest = winner is TagWinner.NEWEST
    assert lost == ([0, number, number, 0, 0] if is_newest else [0, number, 0, 0, number])
    expected = ids(second) if is_newest else ids(first)
    assert stored(target, TAG) == expected | ids(third)
    assert target.registry.getCollectionSummary(TAG).dataset_types == (
        target.registry.getCollectionSummary(RUN).dataset_types
    )


def test_the_tag_is_in_the_transaction_of_the_datasets(
    repository: Repository, target: Butler, monkeypatch: pytest.MonkeyPatch
) -> None:
    messages = log_of(repository)
    target.collections.register(TAG, CollectionType.TAGGED)

    def refuse(*_: object) -> None:
        raise RetryableError("the database is away")

    monkeypatch.setattr("app.butler.insert.tagging.insert_rows", refuse)
    with pytest.raises(RetryableError):
        replicate(target, repository, messages, tag=TAG)
    assert stored(target) == stored(target, TAG) == set()


@ON_SQLITE
def test_a_tag_with_the_name_of_a_run_is_refused_at_the_start(target: Butler) -> None:
    target.collections.register("taken")
    with pytest.raises(RepositoryError, match="BUTLER_WRITER_TAG='taken' is a RUN collection"):
        register_tag(target, "taken")
    register_tag(target, TAG)
    register_tag(target, TAG)
    assert target.collections.get_info(TAG).type is CollectionType.TAGGED


@ON_SQLITE
def test_a_source_that_is_the_target_is_refused(repository: Repository) -> None:
    replica = ReplicaPolicy(source_root=str(repository.root))
    assert replica.staging is not None
    with pytest.raises(OperatorError, match=r"source root .* overlap"):
        ButlerWriter(repository.butler(), replica.policy_of(WritePolicy()), replica=replica)
