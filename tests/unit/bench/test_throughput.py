"""The model of how many events per second workers write."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest

from bench.throughput import Costs, Setup, connections, limits, tables, throughput, worker_rate

COSTS = Costs(worker=0.002, database=0.003)


def test_one_lane_uses_the_processor_and_then_waits_for_the_database() -> None:
    assert worker_rate(COSTS, Setup(lanes=1)) == pytest.approx(200)


def test_a_window_waits_for_eight_round_trips() -> None:
    near, far = Setup(lanes=1, window=40), Setup(lanes=1, window=40, round_trip=0.01)
    assert 1 / worker_rate(COSTS, far) - 1 / worker_rate(COSTS, near) == pytest.approx(0.002)


def test_a_second_lane_uses_the_time_in_which_the_first_one_waits() -> None:
    assert worker_rate(COSTS, Setup(lanes=2)) == pytest.approx(2 / (0.002 * 1.9 + 0.003))


def test_many_lanes_do_not_write_more_than_their_processor_allows() -> None:
    assert worker_rate(COSTS, Setup(lanes=100)) == 500


@pytest.mark.parametrize(("workers", "times"), [(1, 1), (2, 2), (3, 2), (4, 4), (6, 4)])
def test_a_worker_without_a_partition_or_with_two_of_them_decides(
    workers: int, times: float
) -> None:
    one = limits(COSTS, Setup())["workers"]
    assert limits(COSTS, Setup(workers, 4))["workers"] == pytest.approx(times * one)


def test_the_database_limits_many_workers() -> None:
    setup = Setup(16, 16, cores=2)
    assert throughput(COSTS, setup) == pytest.approx(2 / 0.003)
    assert throughput(COSTS, replace(setup, is_shared=True)) == pytest.approx(2 / 0.0055)


def test_a_worker_has_a_connection_for_each_lane_and_one_more() -> None:
    assert connections(Setup(workers=4, lanes=2)) == 12


def test_the_tables_compare_each_point_and_extrapolate_its_costs() -> None:
    points = [
        {
            "setup": asdict(Setup(window=50)),
            "datasets": datasets,
            "rate": 250.0,
            "worker": datasets / 1e5,
            "database": 0.001 + datasets / 1e5,
            "wal_bytes": 1024.0 * datasets,
            "connections": 4,
        }
        for datasets in (20, 50, 100)
    ]
    compared, costs, asked = tables(points)
    assert [row[5] for row in compared.rows] == ["250"] * 3
    assert [row[1:] for row in costs.rows] == [
        ["0.00", "0.010"],
        ["1.00", "0.010"],
        ["0.00", "1.000"],
    ]
    assert asked.rows[0][:3] == ["ten times the survey", "56", "10"]
    assert asked.rows[1][3] == "1.0"
