"""What a pod's writer stores and sends, with artifacts on disk and on S3."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from typing import Any

import pytest
from lsst.daf.butler import DatasetRef, FileDataset
from lsst.resources import ResourcePath

from butler_writer_client import Mode, PromptOutputWriter, TransferError, Undelivered
from models.fields import describe_shape_errors
from tests.support.buckets import Bucket
from tests.support.events import RUN
from tests.support.pods import LocalPod, RecordingTopic

#: The formatter with which the Butler writes such outputs.
YAML = "lsst.daf.butler.formatters.yaml.YamlFormatter"


@pytest.fixture
def topic() -> RecordingTopic:
    return RecordingTopic()


@pytest.fixture(params=["file", "s3"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The root that artifacts are stored under."""
    if request.param == "file":
        return f"file://{made(tmp_path / 'store')}/"
    bucket: Bucket = request.getfixturevalue("bucket")
    return bucket.root


def made(folder: Path) -> str:
    """Return a root that exists."""
    folder.mkdir(exist_ok=True)
    return str(folder)


def files_under(root: str) -> dict[str, bytes]:
    """Return the content of all files under a root, by their path."""
    top = ResourcePath(root, forceDirectory=True)
    found = [file for file in ResourcePath.findFileResources([top]) if file != top]
    return {str(file.relative_to(top)): file.read() for file in found}


def artifacts_of(pod: LocalPod) -> dict[str, bytes]:
    """Return the content of a pod's artifacts, by their path in its datastore."""
    (root,) = pod.butler.get_datastore_roots().values()
    assert root is not None
    uris = map(pod.butler.getURI, pod.outputs)
    return {str(uri.relative_to(root)): uri.read() for uri in uris}


def test_in_final_mode_artifacts_are_at_their_paths_in_the_datastore(
    pod: LocalPod, topic: RecordingTopic, root: str
) -> None:
    writer = PromptOutputWriter(topic, root)

    assert writer.transfer_outputs(pod.butler, pod.records, pod.outputs) == pod.outputs

    assert files_under(root) == artifacts_of(pod)
    (event,) = topic.events
    assert event.staging is None
    assert {file["path"] for file in event.datasets} == set(files_under(root))


def test_in_staging_mode_artifacts_are_at_the_same_paths_under_the_events_staging_root(
    pod: LocalPod, topic: RecordingTopic, root: str
) -> None:
    writer = PromptOutputWriter(topic, root, mode=Mode.STAGING)

    writer.transfer_outputs(pod.butler, pod.records, pod.outputs)

    (event,) = topic.events
    assert event.staging == f"{root}{event.event_id}/"
    assert files_under(event.staging) == artifacts_of(pod)
    assert {file["path"] for file in event.datasets} == set(artifacts_of(pod))


def test_an_event_has_everything_that_the_service_needs(
    pod: LocalPod, topic: RecordingTopic, tmp_path: Path
) -> None:
    before = time.time()
    writer = PromptOutputWriter(topic, made(tmp_path / "store"), chains=["TestCam/prompt/tonight"])

    writer.transfer_outputs(pod.butler, pod.records, pod.outputs)

    (event,) = topic.events
    assert describe_shape_errors(event.asdict()) == ""
    assert event.chains == ["TestCam/prompt/tonight"]
    assert event.sent_at is not None
    assert before <= event.sent_at <= time.time()
    assert {file["formatter"] for file in event.datasets} == {YAML}
    assert topic.refs == {
        ref.id: {
            "dataset_type_name": ref.datasetType.name,
            "run": ref.run,
            "data_id": dict(ref.dataId.required),
        }
        for ref in pod.outputs
    }
    assert sorted(record["definition"] for record in event.dimension_records) == sorted(pod.records)


def test_sizes_and_checksums_are_sent_on_request(
    pod: LocalPod, topic: RecordingTopic, root: str
) -> None:
    for digests in (False, True):
        writer = PromptOutputWriter(topic, root, digests=digests)
        writer.transfer_outputs(pod.butler, pod.records, pod.outputs)

    without, with_digests = topic.events
    assert {tuple(file) for file in without.datasets} == {("refs", "path", "formatter")}
    assert {file["path"]: (file["size"], file["checksum"]) for file in with_digests.datasets} == {
        path: (len(content), hashlib.blake2b(content).hexdigest())
        for path, content in files_under(root).items()
    }


def test_without_chains_the_service_derives_them(
    pod: LocalPod, topic: RecordingTopic, tmp_path: Path
) -> None:
    PromptOutputWriter(topic, made(tmp_path / "store")).transfer_outputs(
        pod.butler, pod.records, pod.outputs
    )
    assert "chains" not in json.loads(topic.values[0])


def test_the_same_outputs_give_the_same_event_in_any_order(
    pod: LocalPod, topic: RecordingTopic, tmp_path: Path
) -> None:
    for outputs in (pod.outputs, pod.outputs[::-1], pod.outputs[1:]):
        writer = PromptOutputWriter(topic, made(tmp_path / "store"))
        writer.transfer_outputs(pod.butler, pod.records, outputs)

    first, again, other = (event.event_id for event in topic.events)
    assert first == again != other


def test_without_outputs_no_event_is_sent(pod: LocalPod, topic: RecordingTopic) -> None:
    assert PromptOutputWriter(topic, "/nowhere").transfer_outputs(pod.butler, {}, []) == []
    assert topic.values == []


def test_datasets_that_share_a_file_are_sent_as_one_artifact(
    pod: LocalPod, topic: RecordingTopic, tmp_path: Path
) -> None:
    shared = tmp_path / "shared.yaml"
    shared.write_text("{}")
    refs = [DatasetRef(one.datasetType, one.dataId, f"{RUN}-shared") for one in pod.outputs[:2]]
    pod.butler.ingest(FileDataset(str(shared), refs), transfer="copy")
    writer = PromptOutputWriter(topic, made(tmp_path / "store"))

    writer.transfer_outputs(pod.butler, pod.records, refs)

    (event,) = topic.events
    (file,) = event.datasets
    assert set(file["refs"]) == {str(ref.id) for ref in refs}
    assert set(files_under(made(tmp_path / "store"))) == {file["path"]}


def test_a_file_outside_the_pods_datastore_is_refused(
    pod: LocalPod, topic: RecordingTopic, tmp_path: Path
) -> None:
    outside = tmp_path / "outside.yaml"
    outside.write_text("{}")
    ref = DatasetRef(pod.outputs[0].datasetType, pod.outputs[0].dataId, f"{RUN}-outside")
    pod.butler.ingest(FileDataset(str(outside), ref), transfer="direct")

    with pytest.raises(ValueError, match="outside the pod's datastore"):
        PromptOutputWriter(topic, made(tmp_path / "store")).transfer_outputs(
            pod.butler, pod.records, [ref]
        )
    assert topic.values == []


def test_a_large_event_is_split_into_complete_parts(pod: LocalPod, tmp_path: Path) -> None:
    whole = RecordingTopic()
    PromptOutputWriter(whole, made(tmp_path / "whole")).transfer_outputs(
        pod.butler, pod.records, pod.outputs
    )
    parts = RecordingTopic(max_event_bytes=len(whole.values[0]) - 1000)
    writer = PromptOutputWriter(parts, made(tmp_path / "parts"), mode=Mode.STAGING)

    writer.transfer_outputs(pod.butler, pod.records, pod.outputs)

    assert len(parts.events) == 2
    assert all(len(value) <= parts.max_event_bytes for value in parts.values)
    assert parts.refs == whole.refs
    assert len({event.event_id for event in parts.events}) == 2
    for event in parts.events:
        assert event.dimension_records == whole.events[0].dimension_records
        assert event.staging is not None
        assert set(files_under(event.staging)) == {file["path"] for file in event.datasets}


def test_an_event_is_always_split_in_the_same_way(
    pod: LocalPod, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def parts(limit: int, now: float) -> list[bytes]:
        monkeypatch.setattr(time, "time", lambda: now)
        topic = RecordingTopic(max_event_bytes=limit)
        writer = PromptOutputWriter(topic, made(tmp_path / "store"))
        writer.transfer_outputs(pod.butler, pod.records, pod.outputs)
        return topic.values

    round_time, odd_time = 1764025795.0, 1764025795.1234567
    size = max(len(part) for part in parts(10**6, odd_time))
    for now in (round_time, odd_time):
        assert len(parts(size, now)) == 1
        assert len(parts(size - 1, now)) == 2


def test_an_artifact_too_large_for_an_event_is_an_error_before_anything_is_stored(
    pod: LocalPod, tmp_path: Path
) -> None:
    topic = RecordingTopic(max_event_bytes=1000)

    with pytest.raises(TransferError, match="over the topic's limit of 1000"):
        PromptOutputWriter(topic, made(tmp_path / "store")).transfer_outputs(
            pod.butler, pod.records, pod.outputs
        )
    assert topic.values == []
    assert files_under(str(tmp_path / "store")) == {}


def test_after_a_failed_upload_the_stored_files_can_be_removed(
    pod: LocalPod, topic: RecordingTopic, root: str
) -> None:
    lost = pod.butler.getURI(pod.outputs[3])
    content = lost.read()
    lost.remove()
    writer = PromptOutputWriter(topic, root)

    with pytest.raises(TransferError, match="1 of 10 artifacts cannot be stored") as caught:
        writer.transfer_outputs(pod.butler, pod.records, pod.outputs)

    assert topic.values == []
    assert len(caught.value.unused) == len(files_under(root)) == 9
    assert caught.value.in_doubt == []
    caught.value.clean_up()
    assert files_under(root) == {}

    lost.write(content)
    writer.transfer_outputs(pod.butler, pod.records, pod.outputs)
    assert files_under(root) == artifacts_of(pod)


def test_the_files_of_a_refused_event_can_be_removed(
    pod: LocalPod, topic: RecordingTopic, root: str
) -> None:
    topic.answers = [Undelivered("no such topic", in_doubt=False)]

    with pytest.raises(TransferError, match="not delivered: no such topic") as caught:
        PromptOutputWriter(topic, root).transfer_outputs(pod.butler, pod.records, pod.outputs)

    assert len(files_under(root)) == 10
    caught.value.clean_up()
    assert files_under(root) == {}


def test_the_files_of_an_event_that_may_have_arrived_are_kept(
    pod: LocalPod, topic: RecordingTopic, tmp_path: Path
) -> None:
    store = made(tmp_path / "store")
    writer = PromptOutputWriter(topic, store)
    topic.answers = [Undelivered("timed out", in_doubt=True), Undelivered("refused", False)]

    for _ in range(2):  # the second attempt was refused, but the first one may have arrived
        with pytest.raises(TransferError) as caught:
            writer.transfer_outputs(pod.butler, pod.records, pod.outputs)
        assert len(caught.value.in_doubt) == 10
        caught.value.clean_up()
        assert files_under(store) == artifacts_of(pod)

    lost = pod.butler.getURI(pod.outputs[3])
    lost.remove()
    with pytest.raises(TransferError) as caught:
        writer.transfer_outputs(pod.butler, pod.records, pod.outputs)
    caught.value.clean_up()
    assert len(files_under(store)) == 10


def test_only_the_files_of_the_refused_part_of_a_split_event_can_be_removed(
    pod: LocalPod, tmp_path: Path
) -> None:
    topic = RecordingTopic(max_event_bytes=5000)
    topic.answers = [None, Undelivered("refused", in_doubt=False)]
    store = made(tmp_path / "store")

    with pytest.raises(TransferError, match="1 of 2 events were not delivered") as caught:
        PromptOutputWriter(topic, store).transfer_outputs(pod.butler, pod.records, pod.outputs)

    caught.value.clean_up()
    (sent,) = topic.events
    assert set(files_under(store)) == {file["path"] for file in sent.datasets}


@pytest.mark.parametrize("mode", list(Mode))
def test_a_mode_may_be_given_as_its_value(pod: LocalPod, tmp_path: Path, mode: Mode) -> None:
    values = {Mode.FINAL: "final", Mode.STAGING: "staging"}
    topic = RecordingTopic()
    writer = PromptOutputWriter(topic, made(tmp_path / "root"), mode=values[mode])  # type: ignore[arg-type]

    writer.transfer_outputs(pod.butler, pod.records, pod.outputs)

    (event,) = topic.events
    assert (event.staging is not None) is (mode is Mode.STAGING)


@pytest.mark.parametrize("mode", ["Staging", "STAGING", "stage", None, True])
def test_an_unknown_mode_is_refused(topic: RecordingTopic, mode: Any) -> None:
    with pytest.raises(ValueError, match=r"must be Mode\.FINAL or Mode\.STAGING"):
        PromptOutputWriter(topic, "root", mode=mode)


def test_one_string_is_not_taken_for_a_list_of_chains(topic: RecordingTopic) -> None:
    with pytest.raises(TypeError, match="list of names"):
        PromptOutputWriter(topic, "root", chains="LSSTCam/prompt")
