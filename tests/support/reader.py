"""A program that reads a repository again and again, as its users do, until a file exists.

Each look asks for all datasets of a chain, with a Butler that stays open and with a new one, and
reads those that the former looks have not read.  It prints a line of JSON for each look: how many
datasets it found, and its errors.
"""

from __future__ import annotations

import json
import sys
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from lsst.daf.butler import Butler

from testbed.process import ChildProcess
from testbed.waiting import wait_until

__all__ = ["Reader"]


@dataclass
class Reader:
    """The program, in a process of its own (use it in a ``with`` statement).

    Attributes
    ----------
    root : `pathlib.Path`
        Root of the repository.
    chain : `str`
        The chain.
    folder : `pathlib.Path`
        Gets its output.
    """

    root: Path
    chain: str
    folder: Path
    _process: ChildProcess = field(init=False)

    def __enter__(self) -> Reader:
        command = [sys.executable, "-m", __name__, str(self.root), self.chain, str(self._end)]
        self._process = ChildProcess(
            command, log=self.folder / "reader.log", cwd=Path(__file__).parents[2]
        )
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.kill()

    @property
    def _end(self) -> Path:
        return self.folder / "reader.end"

    def looks(self) -> list[dict[str, Any]]:
        """Return what it has found so far, look by look."""
        return [
            json.loads(line) for line in self._process.log_text().splitlines(True) if "\n" in line
        ]

    def wait_for_looks(self, number: int, timeout: float = 120) -> None:
        """Wait until it has looked a number of times."""
        wait_until(lambda: len(self.looks()) >= number, timeout, self._process.log_text)

    def end(self, timeout: float = 120) -> list[dict[str, Any]]:
        """Let it look once more, and return what it has found, look by look."""
        self._end.touch()
        assert self._process.wait(timeout) == 0
        return self.looks()


@dataclass
class _Looks:
    root: str
    chain: str
    kept: Butler = field(init=False)
    read: dict[str, set[UUID]] = field(default_factory=lambda: {"kept": set(), "new": set()})

    def __post_init__(self) -> None:
        self.kept = Butler.from_config(self.root)

    def look(self) -> dict[str, Any]:
        errors: list[str] = []
        found = 0
        # One that a user keeps open for hours, and one that was just opened.
        for name, butler in (("kept", self.kept), ("new", Butler.from_config(self.root))):
            try:
                found = self._look(butler, self.read[name])
            except Exception as exc:  # noqa: BLE001 - whatever a user would see
                errors.append("".join(traceback.format_exception(exc)))
        return {"found": found, "errors": errors}

    def _look(self, butler: Butler, read: set[UUID]) -> int:
        if self.chain not in butler.collections.query("*"):
            return 0
        refs = [
            ref
            for kind in sorted(butler.registry.queryDatasetTypes())
            for ref in butler.query_datasets(kind, self.chain, limit=None, explain=False)
        ]
        for ref in refs:
            if ref.id not in read:
                content = butler.get(ref)
                assert content == dict(ref.dataId.required), f"{ref}: {content}"
                read.add(ref.id)
        return len(refs)


def main(root: str, chain: str, end: Path) -> None:
    """Look until a file exists, and then once more."""
    looks = _Looks(root, chain)
    is_last = False
    while not is_last:
        is_last = end.exists()
        print(json.dumps(looks.look()), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
