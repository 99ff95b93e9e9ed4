"""The result of the demo."""

from __future__ import annotations

from dataclasses import dataclass

from simulator.check import Verdict

__all__ = ["DownstreamOutcome", "Outcome"]


@dataclass(frozen=True)
class DownstreamOutcome:
    """What became of the second repository.

    Attributes
    ----------
    datasets : `int`
        Number of datasets in the valid events that the rules select.
    early : `int`
        Number of those that were there before their embargo was over.
    verdict : `Verdict`
        What the repository contains of them.
    """

    datasets: int
    early: int
    verdict: Verdict

    @property
    def complaints(self) -> list[str]:
        """What is wrong, one sentence each."""
        said = [f"downstream, {words}" for words in self.verdict.complaints]
        if self.early:
            said.append(f"{self.early} datasets were downstream before their embargo was over")
        return said


@dataclass(frozen=True)
class Outcome:
    """The result of the demo.

    Attributes
    ----------
    events, duplicates, spoiled : `int`
        Number of pods that sent a valid event, of events that were sent once more, and of spoiled
        events.
    windows, dead_letters : `int`
        Number of windows that were announced, and of events that were set aside.
    transactions : `int`
        Number of transactions that wrote to the database, as the database counts them.
    datasets : `int`
        Number of datasets in the valid events.
    staged : `int`
        Number of their files that are still in the staging area.
    verdict : `Verdict`
        What the Butler contains of them.
    p50, p99 : `float`
        Seconds from the end of a send until a query finds a dataset of the event in the Butler.
    downstream : `DownstreamOutcome` or `None`
        What became of the second repository, if there is one.
    """

    events: int
    duplicates: int
    spoiled: int
    windows: int
    dead_letters: int
    transactions: int
    datasets: int
    staged: int
    verdict: Verdict
    p50: float
    p99: float
    downstream: DownstreamOutcome | None = None

    @property
    def complaints(self) -> list[str]:
        """What is wrong, one sentence each."""
        said = self.verdict.complaints
        if self.dead_letters != self.spoiled:
            said.append(f"{self.dead_letters} dead letters for {self.spoiled} spoiled events")
        if self.staged:
            said.append(f"{self.staged} files are still in the staging area")
        if self.downstream is not None:
            said += self.downstream.complaints
        return said

    @property
    def line(self) -> str:
        """The last line of the output; it counts duplicates and spoiled events if there are any."""
        counts = {
            "events": self.events,
            "duplicates": self.duplicates or None,
            "bad": self.spoiled or None,
            "dead_letters": self.dead_letters if self.spoiled else self.dead_letters or None,
            "windows": self.windows,
            "datasets": self.datasets,
            "missing": self.verdict.missing,
            "twice": self.verdict.twice,
            "transactions": self.transactions,
        }
        if self.downstream is not None:
            counts |= {"downstream": self.downstream.datasets, "early": self.downstream.early}
        shown = " ".join(f"{name}={value}" for name, value in counts.items() if value is not None)
        return f"demo: {shown} p50_s={self.p50:.2f} p99_s={self.p99:.2f}"
