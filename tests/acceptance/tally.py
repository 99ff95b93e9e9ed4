"""Reconciles what a scenario sent with what is stored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Set
from dataclasses import dataclass
from uuid import UUID

from app.operations.presence import Presence
from tests.acceptance.pods import Pods, digest
from tests.support.deployment import Deployment
from tests.support.events import CHAIN, RUN, dataset_ids, stored_ids

__all__ = ["Tally", "reconcile"]


@dataclass(frozen=True)
class Tally:
    """The figures of a scenario.

    Attributes
    ----------
    sent : `int`
        Messages in the log, or that were, including bad ones.
    written : `int`
        Messages whose datasets are all in the Butler, with their artifacts.
    dead : `int`
        Messages that are in the dead letters.
    redelivered : `int`
        Redelivered events whose datasets were in the Butler already.
    kills : `int`
        Workers that were killed.
    lost, twice : `int`
        Messages that are in neither; datasets that are stored more than once or were not sent.
    peak_rss : `int`
        Highest memory of a worker, in MiB.
    """

    sent: int
    written: int
    dead: int
    redelivered: int
    kills: int
    lost: int
    twice: int
    peak_rss: int


def reconcile(
    deployment: Deployment,
    pods: Pods,
    *,
    redelivered: int,
    kills: int,
    peak_rss: int,
    by_others: Set[UUID] = frozenset(),
) -> Tally:
    """Compare what was sent with the Butler, the dead letters, announcements and product log.

    Datasets that another program has written are not in the product log.

    Raises
    ------
    AssertionError
        If they do not agree.
    """
    topic = deployment.topic
    butler = deployment.fresh_butler()
    found = Counter(stored_ids(butler, "*"))  # spoiled events have their own runs
    readable = {UUID(i) for i in Presence(butler).readable([*map(str, found)])}
    letters = [dict(message.headers) for message in deployment.dead_letters()]
    dead = {(int(letter["partition"]), int(letter["offset"])) for letter in letters}
    announced = set(map(UUID, deployment.announced_ids()))
    log = {(m.partition, m.offset): digest(m.value) for m in deployment.cluster.consume(topic)}
    log |= {(-1, number): message for number, message in enumerate(pods.dropped)}
    bad = {position for position, message in log.items() if message in pods.bad}
    written = {
        position
        for position, message in log.items()
        if message in pods.valid and dataset_ids(pods.valid[message]) <= readable
    }
    tally = Tally(
        sent=len(log),
        written=len(written),
        dead=len(dead),
        redelivered=redelivered,
        kills=kills,
        lost=len(log.keys() - written - dead),
        twice=found.total() - len(found.keys() & dataset_ids(*pods.valid.values())),
        peak_rss=peak_rss,
    )
    ends = deployment.cluster.end_offsets(topic)
    committed = deployment.cluster.committed(deployment.group, topic)
    children = butler.collections.get_info(CHAIN).children if pods.valid else ()
    assert set(log.values()) == pods.valid.keys() | pods.bad, "the log contains what was sent"
    assert tally.lost == 0, f"{tally}: lost {sorted(log.keys() - written - dead)[:5]}"
    assert tally.twice == 0, tally
    assert dead == bad, tally
    assert tally.sent == tally.written + tally.dead, tally
    assert announced == found.keys(), "exactly the datasets in the Butler are announced"
    logged = set(map(UUID, deployment.logged_ids()))
    expected = found.keys() - by_others
    assert logged == expected, "exactly the datasets in the Butler are in the product log"
    assert {partition: committed.get(partition, 0) for partition in ends} == ends
    assert tuple(children) == ((RUN,) if pods.valid else ())
    return tally
