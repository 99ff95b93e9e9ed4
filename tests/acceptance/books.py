"""The books of a scenario: what was sent, compared with what there is."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from uuid import UUID

from app.butler.presence import look_up
from tests.acceptance.pods import Pods
from tests.deployment import Deployment
from tests.events import CHAIN, DATASET_TYPES, RUN, dataset_ids, stored_ids

__all__ = ["Tally", "make_books"]


@dataclass(frozen=True)
class Tally:
    """The books of a scenario, in events.

    Attributes
    ----------
    sent : `int`
        Messages that the broker had, poisoned ones too.
    written : `int`
        Of these, the messages whose datasets are all in the Butler with their artifacts.
    dead : `int`
        Of these, the messages that are in the dead letters.
    redelivered : `int`
        Events that were announced again: written before, delivered once more, and absorbed.
    kills : `int`
        Workers that were killed.
    lost, twice : `int`
        Messages in neither, and datasets that are there more than once or that nobody sent.
    peak_rss : `int`
        Most memory that a worker had, in MiB.
    """

    sent: int
    written: int
    dead: int
    redelivered: int
    kills: int
    lost: int
    twice: int
    peak_rss: int


def make_books(deployment: Deployment, pods: Pods, *, kills: int, peak_rss: int) -> Tally:
    """Compare what was sent with the Butler, the dead letters, and the announcements.

    Raises
    ------
    AssertionError
        If they do not agree.
    """
    butler = deployment.fresh_butler()
    found = Counter(stored_ids(butler, "*"))  # what was spoiled had runs of its own
    readable = look_up(butler, found).readable
    letters = [dict(message.headers) for message in deployment.dead_letters()]
    dead = {(int(letter["partition"]), int(letter["offset"])) for letter in letters}
    announced = Counter(map(UUID, deployment.announced_ids()))
    sent = pods.valid.keys() | pods.poisoned
    written = {place for place, event in pods.valid.items() if dataset_ids(event) <= readable}
    tally = Tally(
        sent=len(sent),
        written=len(written),
        dead=len(dead),
        redelivered=sum(times - 1 for times in announced.values()) // len(DATASET_TYPES),
        kills=kills,
        lost=len(sent - written - dead),
        twice=found.total() - len(found.keys() & dataset_ids(*pods.valid.values())),
        peak_rss=peak_rss,
    )
    ends = deployment.cluster.end_offsets(deployment.topic)
    committed = deployment.cluster.committed(deployment.group, deployment.topic)
    children = butler.collections.get_info(CHAIN).children if pods.valid else ()
    assert tally.sent == sum(ends.values()), f"the log has something else than was sent: {tally}"
    assert tally.lost == 0, f"{tally}: lost {sorted(sent - written - dead)[:5]}"
    assert tally.twice == 0, tally
    assert dead == pods.poisoned, tally
    assert tally.sent == tally.written + tally.dead, tally
    assert announced.keys() == found.keys(), "announced is what is in the Butler"
    assert {partition: committed.get(partition, 0) for partition in ends} == ends
    assert tuple(children) == ((RUN,) if pods.valid else ())
    return tally
