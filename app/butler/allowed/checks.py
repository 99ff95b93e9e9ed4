"""Check what a parsed event names against the operator's choices."""

from __future__ import annotations

from lsst.daf.butler import Butler

from app.butler.allowed.chains import AllowedChains
from app.butler.allowed.paths import AllowedPaths
from app.butler.events.parsed import ParsedEvent
from app.butler.policy import WritePolicy
from models.causes import Cause
from models.errors import NotAllowedError

__all__ = ["AllowedNames"]


class AllowedNames:
    """Refuses events that name a run, a path or a chain that they may not name.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        Looks up chains.
    policy : `WritePolicy`
        The operator's choices.
    """

    def __init__(self, butler: Butler, policy: WritePolicy) -> None:
        self._runs = policy.allowed_runs
        self._paths = AllowedPaths(is_below_run=policy.paths_below_run)
        self._chains = AllowedChains(butler, policy.allowed_chains)

    def check(self, event: ParsedEvent, *, names_chains: bool) -> None:
        """Check an event.

        Parameters
        ----------
        event : `ParsedEvent`
            The event.
        names_chains : `bool`
            Whether the event itself names its chains; otherwise a setting derives them.

        Raises
        ------
        NotAllowedError
            If the event names what it may not name.
        """
        if self._runs is not None:
            for run in {artifact.refs[0].run for artifact in event.artifacts}:
                if not self._runs.matches(run):
                    raise NotAllowedError(
                        Cause.RUN_NOT_ALLOWED,
                        f"run {run!r} does not match BUTLER_WRITER_ALLOWED_RUNS; write to a run "
                        "that does, or change the setting, then replay",
                    )
        self._paths.check(event.artifacts)
        if names_chains:
            for chain, run in event.chains:
                self._chains.check(chain, run)
