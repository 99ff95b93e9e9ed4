"""Checks that the packages ``agents`` and ``models`` are this service's own.

Their names are common, and ``faust`` puts the working folder first on ``sys.path`` for a single
import only, so Python may import another distribution's package of the same name instead.
"""

from __future__ import annotations

import sys
from importlib.metadata import packages_distributions
from importlib.util import find_spec
from pathlib import Path

from app.errors import OperatorError

__all__ = ["ForeignPackageError", "find_own"]

_OURS = Path(__file__).parent.parent
_REMEDY = "install the service into its own environment"


class ForeignPackageError(OperatorError):
    """A package of another distribution hides a package of the service, or is mixed with it."""


def find_own(package: str) -> None:
    """Make sure that Python will import this service's own package of a name.

    If the service is not installed, add the checkout to ``sys.path``.

    Raises
    ------
    ForeignPackageError
        If another package of that name would be imported, or is installed in the same folder.
    """
    spec = find_spec(package)
    if spec is None and (_OURS / package).is_dir():
        sys.path.append(str(_OURS))
        spec = find_spec(package)
    found = Path(spec.origin).parent.parent if spec is not None and spec.origin else None
    if found != _OURS:
        raise ForeignPackageError(
            f"the package {package!r} comes from {found}, not from this service; {_REMEDY}"
        )
    if others := set(packages_distributions().get(package, ())) - {"butler-writer"}:
        raise ForeignPackageError(
            f"the package {package!r} is also installed by {', '.join(sorted(others))}; {_REMEDY}"
        )
