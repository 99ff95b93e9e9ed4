"""A window is divided into messages of the product log, each within the size limit."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lsst.daf.butler import DataCoordinate, DimensionUniverse

from app.butler.products.contents import WrittenProducts
from app.butler.products.messages import product_messages
from app.butler.products.related_keys import RecordId
from app.butler.products.window_files import ProductFiles, Section
from models.product import Products

BATCH = UUID("0b7f2a9e-6f0c-5c3e-8d4e-0123456789ab")
AT = datetime(2026, 11, 27, 7, 30, tzinfo=UTC)
VISITS = DimensionUniverse().conform(["visit"])


def record(visit: int, size: int) -> bytes:
    return orjson.dumps({"definition": "visit", "record": {"id": visit, "name": "x" * size}})


def products(files: list[tuple[int, str]], sizes: list[int], run: str = "run") -> WrittenProducts:
    """Return datasets, each of a visit and a type; the sizes are those of the visits' records."""
    data_ids = [DataCoordinate.from_required_values(VISITS, ("Cam", n)) for n in range(len(sizes))]
    keys: list[RecordId] = [("visit", ("Cam", n)) for n in range(len(sizes))]
    section = Section(run, "datastore", {"b", "a"})
    for number, (visit, kind) in enumerate(files):
        ref = {
            "dataset_type_name": kind,
            "run": run,
            "data_id": {"instrument": "Cam", "visit": visit},
        }
        content: dict[str, object] = {
            "refs": {str(UUID(int=number)): ref},
            "path": f"é{number}",
            "formatter": "f",
        }
        section.files.append(ProductFiles(orjson.dumps(content), [data_ids[visit]], [kind]))
    return WrittenProducts(
        universe={"namespace": "daf_butler", "version": 8},
        sections=[section],
        dataset_types={name: orjson.dumps({"name": name}) for _, name in files},
        needed={data_ids[n]: (keys[n], keys[0]) for n in range(len(sizes))},
        records={keys[n]: record(n, size) for n, size in enumerate(sizes)},
        chain_positions={("b", run): -7, ("b", "another run"): 1},
    )


@given(
    st.lists(st.tuples(st.integers(0, 4), st.sampled_from("abc")), min_size=1, max_size=60),
    st.lists(st.integers(1, 900), min_size=5, max_size=5),
    st.integers(4000, 9000),
    st.sampled_from(["run", "å/" * 100]),
)
def test_each_message_is_within_the_limit_and_can_be_read_alone(
    files: list[tuple[int, str]], sizes: list[int], limit: int, run: str
) -> None:
    sent = product_messages(products(files, sizes, run), BATCH, AT, limit)
    messages = [Products.decode(value) for _, value in sent]
    assert max(len(value) for _, value in sent) <= limit
    assert {key for key, _ in sent} == {run} == {message.run for message in messages}
    assert [message.sequence for message in messages] == list(range(len(messages)))
    assert {message.records_in_batch for message in messages} == {len(messages)}
    logged = [dataset_id for m in messages for file in m.datasets for dataset_id in file["refs"]]
    assert logged == [str(UUID(int=number)) for number in range(len(files))]
    for message in messages:
        refs = [ref for file in message.datasets for ref in file["refs"].values()]
        visits = [record["record"]["id"] for record in message.dimension_records]
        assert sorted(visits) == sorted({0} | {ref["data_id"]["visit"] for ref in refs})
        types = [kind["name"] for kind in message.dataset_types]
        assert sorted(types) == sorted({ref["dataset_type_name"] for ref in refs})
        assert message.chains == ["a", "b"]
        assert message.chain_positions == {"b": -7}


def test_a_window_within_the_limit_is_one_message() -> None:
    (sent,) = product_messages(products([(0, "a")] * 50, [10]), BATCH, AT, 100_000)
    message = Products.decode(sent[1])
    assert (message.sequence, message.records_in_batch) == (0, 1)
    assert message.batch_id == str(BATCH)
    assert message.committed_at == "2026-11-27T07:30:00.000000+00:00"


def with_large_artifact(before: int, inside: int, after: int) -> WrittenProducts:
    """Return the products with the members in the middle as the parts of one artifact."""
    found = products([(0, "a")] * (before + inside + after), [10])
    (section,) = found.sections
    contents = [{**orjson.loads(each.content), "path": "large"} for each in section.files]
    parts = [
        each._replace(content=orjson.dumps({**content, "is_part": True}))
        for each, content in zip(section.files, contents, strict=True)
    ][before : before + inside]
    refs = {
        key: ref
        for content in contents[before : before + inside]
        for key, ref in content["refs"].items()
    }
    whole = ProductFiles(
        orjson.dumps({**contents[0], "refs": refs}),
        [data_id for part in parts for data_id in part.data_ids],
        [name for part in parts for name in part.dataset_types],
        parts,
    )
    files = [*section.files[:before], whole, *section.files[before + inside :]]
    return replace(found, sections=[replace(section, files=files)])


@given(st.integers(0, 5), st.integers(2, 60), st.integers(0, 5), st.integers(4000, 20_000))
def test_an_artifact_is_divided_and_marked_only_if_it_is_too_large(
    before: int, inside: int, after: int, limit: int
) -> None:
    """Its file is released with the last of its datasets, so a reader must know all of them."""
    given_products = with_large_artifact(before, inside, after)
    sent = product_messages(given_products, BATCH, AT, limit)
    assert max(len(value) for _, value in sent) <= limit
    messages = [Products.decode(value) for _, value in sent]
    (alone, *_) = product_messages(with_large_artifact(0, inside, 0), BATCH, AT, 10**9)
    found = [[file for file in message.datasets if file["path"] == "large"] for message in messages]
    ids = [key for files in found for file in files for key in file["refs"]]
    assert ids == [str(UUID(int=number)) for number in range(before, before + inside)]
    marks = {file.get("is_part", False) for files in found for file in files}
    assert marks == {sum(map(bool, found)) > 1}
    if len(alone[1]) + 100 <= limit:
        assert marks == {False}


@pytest.mark.parametrize("number", [1, 2])
def test_what_is_too_large_alone_comes_alone(number: int) -> None:
    """The topic then decides."""
    sent = product_messages(products([(0, "a")] * number, [9000]), BATCH, AT, 4000)
    assert len(sent) == number
