"""The instructions of the Dockerfile, as tests read them."""

from __future__ import annotations

from itertools import takewhile

from testbed.worker import CHECKOUT

__all__ = ["dockerfile_stages"]


def dockerfile_stages() -> dict[str, list[list[str]]]:
    """Return the Dockerfile's instructions by stage, each as a list of words."""
    lines = (CHECKOUT / "Dockerfile").read_text().splitlines()
    text = "\n".join(line for line in lines if not line.lstrip().startswith("#"))
    instructions = [line.split() for line in text.replace("\\\n", " ").splitlines() if line]
    starts = [n for n, (word, *_) in enumerate(instructions) if word == "FROM"]
    return {
        instructions[start][-1]: [
            instructions[start],
            *takewhile(lambda words: words[0] != "FROM", instructions[start + 1 :]),
        ]
        for start in starts
    }
