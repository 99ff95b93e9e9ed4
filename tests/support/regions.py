"""Regions of the sky."""

from __future__ import annotations

import struct
from functools import cache

from lsst.sphgeom import Angle, Circle, LonLat, UnitVector3d

__all__ = ["circle", "nested"]


def circle(radius: float) -> Circle:
    """Return a circle with a radius in degrees."""
    return Circle(UnitVector3d(LonLat.fromDegrees(30, -30)), Angle.fromDegrees(radius))


@cache
def nested(depth: int) -> bytes:
    """Return the encoding of a circle inside of unions and intersections."""
    parts = [circle(1).encode()]
    size = len(parts[0])
    for n in range(depth):
        parts.append((b"u" if n % 2 else b"i") + struct.pack("<Q", size))
        size += len(parts[-1])
    return b"".join(reversed(parts))
