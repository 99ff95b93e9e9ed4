"""What a demo that keeps running prints: everything that one needs to look around."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from simulator.demo import TOPIC, Demo
from testbed.worker import CHECKOUT

__all__ = ["commands", "description", "drop_ended"]

#: The variables that the service's commands need.
_VARIABLES = (
    "BUTLER_REPOSITORY",
    "KAFKA_CLUSTER",
    "KAFKA_TOPIC",
    "KAFKA_OUTPUT_TOPIC",
    "OUTPUT_DATASET_LIST_DIRECTORY",
)
_PAGES = ("", "state", "livez", "readyz", "metrics")
_DAY_AFTER = "2026-11-24"


def commands(demo: Demo) -> list[str]:
    """Return commands to try, to be executed in the current folder."""
    programs = Path(sys.executable).parent
    if Path.cwd() == CHECKOUT and programs.is_relative_to(CHECKOUT):
        programs = programs.relative_to(CHECKOUT)
    environment = " ".join(f"{name}={shlex.quote(demo.environment[name])}" for name in _VARIABLES)
    python = f"{shlex.quote(str(programs / 'python'))} -m simulator"
    if Path.cwd() != CHECKOUT:
        python = f"env PYTHONPATH={shlex.quote(str(CHECKOUT))} {python}"
    root = shlex.quote(str(demo.root))
    night = f"--visits 1 --detectors 9 --cadence 1 --day-obs {_DAY_AFTER}"
    can_kill = demo.apache_kafka and len(demo.running) > 1
    faust = f"{environment} {shlex.quote(str(programs / 'faust'))} -A app"
    return [
        f"{shlex.quote(str(programs / 'butler'))} query-collections {root}",
        f"{faust} dead-letters list",
        # The embedded broker does not notice that a member of a group is gone.
        *([f"kill -9 {demo.running[0].process.pid}"] if can_kill else ()),
        f"{python} send --bootstrap {demo.cluster.bootstrap} --topic {TOPIC} --root {root} {night}",
        f"{faust} audit",
    ]


def _downstream(demo: Demo) -> list[str]:
    if demo.downstream is None:
        return []
    return [f"downstream:  {demo.downstream.root}, worker {demo.downstream.worker.url}/"]


def description(demo: Demo) -> str:
    """Return pages, repository, broker, logs, and commands to try."""
    lines = []
    for number, worker in enumerate(demo.running, 1):
        pages = " ".join(f"{worker.url}/{page}" for page in _PAGES)
        lines.append(f"worker {number}:    {pages}")
    lines += [
        f"repository:  {demo.root}",
        *_downstream(demo),
        f"broker:      {demo.cluster.bootstrap}, topic {TOPIC}",
        *(f"log:         {log} ({name})" for name, log in demo.watch.logs.items()),
        "try, in another terminal:",
        *(f"  {command}" for command in commands(demo)),
    ]
    return "\n".join(lines)


def drop_ended(demo: Demo) -> list[str]:
    """Go on without the workers that have ended, if others run; return what became of them."""
    ended = [worker for worker in demo.running if worker.process.returncode is not None]
    if len(ended) == len(demo.running):
        return []
    demo.running = [worker for worker in demo.running if worker not in ended]
    return [f"{demo.watch.drop(worker)}; the others go on" for worker in ended]
