"""A window is divided into messages of the product log, each within the size limit."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lsst.daf.butler import DataCoordinate, DatasetRef, DatasetType, DimensionUniverse

from app.butler.products.contents import ProductFile, Section, WrittenProducts
from app.butler.products.messages import product_messages
from app.butler.products.related_keys import RecordId
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
    kinds = {name: DatasetType(name, VISITS, "StructuredDataDict") for name in "abc"}
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
        dataset = DatasetRef(kinds[kind], data_ids[visit], run)
        section.files.append(ProductFile(content, [dataset]))
    return WrittenProducts(
        universe={"namespace": "daf_butler", "version": 8},
        sections=[section],
        dataset_types={name: orjson.dumps({"name": name}) for _, name in files},
        needed={data_ids[n]: (keys[n], keys[0]) for n in range(len(sizes))},
        records={keys[n]: record(n, size) for n, size in enumerate(sizes)},
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


def test_a_window_within_the_limit_is_one_message() -> None:
    (sent,) = product_messages(products([(0, "a")] * 50, [10]), BATCH, AT, 100_000)
    message = Products.decode(sent[1])
    assert (message.sequence, message.records_in_batch) == (0, 1)
    assert message.batch_id == str(BATCH)
    assert message.committed_at == "2026-11-27T07:30:00.000000+00:00"


def in_artifacts(found: WrittenProducts, *numbers: int) -> WrittenProducts:
    """Return the products with the first members in one artifact, the next ones in another, ..."""
    (section,) = found.sections
    paths = [f"path {n}" for n, number in enumerate(numbers) for _ in range(number)]
    files = [
        ProductFile({**file.content, "path": path}, file.datasets)
        for file, path in zip(section.files, paths, strict=True)
    ]
    return replace(found, sections=[replace(section, files=files)])


@given(st.lists(st.integers(1, 5), min_size=1, max_size=12), st.integers(4000, 9000))
def test_the_datasets_of_an_artifact_are_in_one_message(numbers: list[int], limit: int) -> None:
    """Its file is released with the last of them, so a reader must know all of them."""
    given_products = in_artifacts(products([(0, "a")] * sum(numbers), [10]), *numbers)
    sent = product_messages(given_products, BATCH, AT, limit)
    messages = [Products.decode(value) for _, value in sent]
    assert max(len(value) for _, value in sent) <= limit
    found = [{file["path"] for file in message.datasets} for message in messages]
    assert sum(map(len, found)) == len(set().union(*found)) == len(numbers)
    assert not any("is_part" in file for message in messages for file in message.datasets)


def test_an_artifact_that_is_too_large_for_one_message_is_marked() -> None:
    given_products = in_artifacts(products([(0, "a")] * 60, [10]), 2, 56, 2)
    sent = product_messages(given_products, BATCH, AT, 4000)
    messages = [Products.decode(value) for _, value in sent]
    assert max(len(value) for _, value in sent) <= 4000
    marked = {(f["path"], f.get("is_part", False)) for m in messages for f in m.datasets}
    assert marked == {("path 0", False), ("path 1", True), ("path 2", False)}
    assert sum(len(message.datasets) for message in messages) == 60


@pytest.mark.parametrize("number", [1, 2])
def test_what_is_too_large_alone_comes_alone(number: int) -> None:
    """The topic then decides."""
    sent = product_messages(products([(0, "a")] * number, [9000]), BATCH, AT, 4000)
    assert len(sent) == number
