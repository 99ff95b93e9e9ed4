"""What was withdrawn from a downstream repository, and must not come back.

Pure: no I/O, no clock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

from models.fields import FileDatasetFields

__all__ = ["Withdrawn"]


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """What was withdrawn.

    Attributes
    ----------
    ids : `set` [`uuid.UUID`]
        Datasets.
    runs : `set` [`str`]
        Runs, with all their datasets.
    number : `int`
        How often something was removed before this was read: what is prepared with it may be
        written as long as nothing more is removed.
    """

    ids: set[UUID] = field(default_factory=set)
    runs: set[str] = field(default_factory=set)
    number: int = 0

    def leave_out(
        self, artifacts: Sequence[FileDatasetFields]
    ) -> tuple[list[FileDatasetFields], Counter[str]]:
        """Leave out the artifacts that have a withdrawn dataset.

        Parameters
        ----------
        artifacts : `~collections.abc.Sequence` [`models.fields.FileDatasetFields`]
            The artifacts of a message.

        Returns
        -------
        others : `list` [`models.fields.FileDatasetFields`]
            Those that have none.
        left_out : `~collections.Counter` [`str`]
            The number of datasets of the others, by type.
        """
        left_out: Counter[str] = Counter()
        if not (self.ids or self.runs):
            return [*artifacts], left_out
        # An artifact with many datasets may be divided into several members of the message.
        paths = {artifact["path"] for artifact in artifacts if self._has(artifact)}
        others = []
        for artifact in artifacts:
            if artifact["path"] in paths:
                left_out.update(ref["dataset_type_name"] for ref in artifact["refs"].values())
            else:
                others.append(artifact)
        return others, left_out

    def _has(self, artifact: FileDatasetFields) -> bool:
        return any(
            ref["run"] in self.runs or (bool(self.ids) and _id(text) in self.ids)
            for text, ref in artifact["refs"].items()
        )


def _id(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:  # the write says so
        return None
