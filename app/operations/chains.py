"""Reads the table ``chains`` without a worker, and rebuilds it from the Butler."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import orjson
import structlog
from lsst.daf.butler import Butler, CollectionType

from app.butler.descriptions import describe_with_type
from app.butler.policy import Expression
from app.butler.repository.run_statistics import run_statistics
from app.kafka.changelog import Changelog
from app.kafka.connection import KafkaConnection
from app.kafka.producer import open_producer
from app.settings import MIB, KafkaSettings
from models.chains import ChainState, RunState, read_chain_state

__all__ = ["is_derived", "rebuilt_chains", "send_chains", "stored_chains"]

logger = structlog.get_logger("butler_writer")


async def stored_chains(
    connection: KafkaConnection, settings: KafkaSettings
) -> dict[str, ChainState]:
    """Return the state of each chain as the changelog has it: a few seconds old, if at all.

    Raises
    ------
    app.kafka.errors.TopicError
        If there is no changelog yet.
    app.kafka.errors.KafkaError
        If the brokers cannot be reached or refuse the user.
    """
    chains: dict[str, ChainState] = {}
    latest = await Changelog(connection, settings.changelog_topic).read()
    for key, value in latest.items():
        try:
            if value is not None:
                chains[str(orjson.loads(key))] = read_chain_state(orjson.loads(value))
        except Exception as exc:  # noqa: BLE001 - rule optional-parts-stop-nothing
            logger.warning("record of the chains' changelog skipped", error=describe_with_type(exc))
    return dict(sorted(chains.items()))


def rebuilt_chains(
    butler: Butler,
    stored: Mapping[str, ChainState],
    pattern: Expression | None,
    names: Iterable[str] = (),
) -> list[ChainState]:
    """Return the chains as the Butler has them; those that it has no more are without runs.

    The Butler does not know how many events brought the datasets of a run: this number is taken
    over from the table.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        The repository.
    stored : `~collections.abc.Mapping` [`str`, `ChainState`]
        What the table has.
    pattern : `~app.butler.policy.Expression` or `None`
        Finds the chain in the name of a run: a chain that this gives for one of its children is
        rebuilt too if the table does not have it.
    names : `~collections.abc.Iterable` [`str`], optional
        Only these chains; if empty, all of the table and those that the pattern gives.
    """
    found = {
        info.name: tuple(info.children)
        for info in butler.collections.query_info("*", collection_types={CollectionType.CHAINED})
    }
    ours = set(names) or {
        *stored,
        *(name for name, children in found.items() if is_derived(name, children, pattern)),
    }
    return [_rebuilt(butler, name, found.get(name, ()), stored.get(name)) for name in sorted(ours)]


def is_derived(name: str, children: Iterable[str], pattern: Expression | None) -> bool:
    """Return whether a pattern gives a chain for one of its children."""
    return pattern is not None and any(pattern.find("chain", child) == name for child in children)


def _rebuilt(
    butler: Butler, name: str, children: Iterable[str], stored: ChainState | None
) -> ChainState:
    known = {run.run: run for run in stored.runs} if stored else {}
    runs = []
    for child in children:
        statistics = run_statistics(butler, child)
        runs.append(
            RunState(
                run=child,
                first_write=statistics.first,
                last_write=statistics.last,
                datasets=statistics.datasets,
                events=known[child].events if child in known else 0,
            )
        )
    return ChainState(chain=name, runs=runs)


async def send_chains(
    connection: KafkaConnection, settings: KafkaSettings, chains: Iterable[ChainState]
) -> None:
    """Send states that replace those of the table.

    They go the way of all chain updates, so the worker that keeps the table applies them in order:
    what was sent before is replaced, what is sent later is added.  A window that is written at this
    moment may be counted twice, or not at all.

    Raises
    ------
    app.kafka.errors.TopicError
        If there is no topic for them.
    app.kafka.errors.KafkaError
        If the brokers cannot be reached or refuse the user.
    """
    async with open_producer(connection, settings.chain_update_topic, MIB) as producer:
        for chain in chains:
            await producer.send(chain.dumps(), key=chain.chain.encode())
