"""A third repository is filled from the second one, and the workers of both are killed."""

from __future__ import annotations

import itertools
from contextlib import ExitStack
from pathlib import Path

import pytest
from lsst.daf.butler import Butler, Config

from app.butler.private.registry import engine_of
from testbed.cluster import Cluster
from testbed.postgresql import PostgreSQL
from testbed.tables import check_same, tables_of
from testbed.waiting import wait_until
from testbed.worker import Worker
from tests.support.deployment import Deployment
from tests.support.downstream import Downstream, selected
from tests.support.events import CHAIN, DATASET_TYPES, DETECTORS, Night
from tests.support.product_import import import_products

RULES = """
- dataset_types: ["post_isr_summary"]
  exclude: true
- dataset_types: ["*"]
  embargo_hours: 0
"""

RELEASED = [name for name in DATASET_TYPES if name != "post_isr_summary"]

#: Their messages are in different partitions of the logs.
RUNS = [f"{CHAIN}/{letter}" for letter in "ad"]

KILLS = 3


@pytest.mark.slow
@pytest.mark.postgresql
@pytest.mark.timeout(1200)
def test_three_repositories_have_the_same_after_kills_under_load(
    kafka: Cluster, topic_name: str, tmp_path: Path, postgresql: PostgreSQL
) -> None:
    names = [f"{name}_{topic_name}".replace("-", "_") for name in ("one", "two", "three", "plain")]
    one, two, three, plain = map(postgresql.create_database, names)
    source = Deployment(kafka, topic_name, tmp_path, partitions=2, database=one)
    rules, hop = tmp_path / "rules.yaml", f"{topic_name}-hop"
    rules.write_text(RULES)
    small = {"BUTLER_WRITER_WINDOW_SECONDS": "0.2", "BUTLER_WRITER_WINDOW_EVENTS": "4"}
    second = Downstream(
        source,
        tmp_path / "second",
        two,
        {
            "BUTLER_WRITER_PRODUCTS_TOPIC": f"{hop}-products",
            "BUTLER_WRITER_RULES": str(rules),
            **small,
        },
    )
    third = Downstream(
        source,
        tmp_path / "third",
        three,
        {"KAFKA_TOPIC": hop, "BUTLER_WRITER_SOURCE_ROOT": str(second.root), **small},
    )
    nights = [Night(source.root, run) for run in RUNS]
    with ExitStack() as stack:
        stack.enter_context(source.worker(**small)).wait_ready(180)  # it creates the log
        victims: list[tuple[Downstream, Worker]] = []
        for downstream in (second, third):
            worker = stack.enter_context(downstream.worker())
            worker.wait_ready(180)
            victims.append((downstream, worker))
        visits = itertools.count(1)
        for downstream, worker in victims * KILLS:
            finished = downstream.committed()
            visit = next(visits)
            source.send(*(night.event(visit, d) for night in nights for d in range(DETECTORS)))

            def is_at_work(downstream: Downstream = downstream, before: int = finished) -> bool:
                return downstream.committed() > before

            wait_until(is_at_work, 180, worker.log_text)
            worker.process.kill()
            worker.start()
        source.wait_done(300)
        second.wait_done(300)
        third.wait_done(300)

    original = source.fresh_butler()
    kinds = original.registry.queryDatasetTypes(RELEASED)
    expected_ids = {
        ref.id for kind in kinds for ref in original.registry.queryDatasets(kind, collections=...)
    }
    assert len(expected_ids) == 2 * KILLS * len(RUNS) * DETECTORS * len(RELEASED)
    # The same selection, written with public names of the Butler only.
    seed = Config()
    seed["registry", "db"] = plain
    Butler.makeRepo(str(tmp_path / "plain"), config=seed)
    with Butler.from_config(str(tmp_path / "plain"), writeable=True) as butler:
        import_products(butler, selected(source.products(), *RELEASED), source.root)
        expected = tables_of(engine_of(butler))
    expected["collection_chain"] = tables_of(engine_of(original))["collection_chain"]
    assert len(expected["dataset"]) == len(expected_ids)
    for downstream in (second, third):
        check_same(downstream.tables(), expected)
        butler = downstream.butler()
        for kind in butler.registry.queryDatasetTypes():
            for ref in butler.query_datasets(kind, collections=CHAIN, limit=None):
                assert butler.get(ref) == dict(ref.dataId.required)
        assert downstream.dead_letters() == []
