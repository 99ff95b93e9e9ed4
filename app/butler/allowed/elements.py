"""Of which dimension elements an event may bring new records."""

from __future__ import annotations

from collections.abc import Collection

from lsst.daf.butler import DimensionUniverse

__all__ = ["ANY_ELEMENT", "forbidden_elements"]

#: Stands for all elements in the setting.
ANY_ELEMENT = "*"

#: What a pod brings beside the elements that hang on exposures and visits.
_OF_PODS = frozenset({"day_obs", "exposure", "group", "visit", "visit_system"})


def forbidden_elements(universe: DimensionUniverse, allowed: Collection[str]) -> frozenset[str]:
    """Return the dimension elements of which an event may bring stored records only.

    Parameters
    ----------
    universe : `lsst.daf.butler.DimensionUniverse`
        The universe of the repository.
    allowed : `~collections.abc.Collection` [`str`]
        Elements that are allowed besides those that hang on exposures and visits.
    """
    if ANY_ELEMENT in allowed:
        return frozenset()
    return frozenset(
        element.name
        for element in universe.elements
        if element.has_own_table
        and element.name not in {*allowed, *_OF_PODS}
        and {"exposure", "visit"}.isdisjoint(element.required.names)
    )
