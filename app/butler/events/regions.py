"""Check encoded regions before sphgeom decodes them.

sphgeom trusts what it decodes: some encodings end the process with a segmentation fault, others are
taken for the whole sky (our measurement with release 30.2026.4000).  Only what dimension records
need is accepted: a convex polygon, a circle, a box, or a union of these.

An encoding begins with a byte for the type.  All numbers are little-endian and of 8 bytes.  A union
has the length and the encoding of each member.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from struct import Struct
from typing import TypeAlias

from app.butler.events.limits import EventLimits
from models.errors import InvalidEventError

__all__ = ["check_region"]

_Vector: TypeAlias = tuple[float, float, float]

_VECTOR = Struct("<3d")
_CIRCLE = Struct("<5d")
_BOX = Struct("<4d")
_LENGTH = Struct("<Q")

#: How much the square of a unit vector's length may differ from 1.
_ROUNDING = 1e-9

#: Largest distance from the middle of a polygon to a vertex, as its cosine: 80 degrees.
_FARTHEST = 0.17


#: How far from convex a corner may be, by rounding: twice the area of its triangle, in steradians.
_FLAT = 1e-14

#: Smallest area of a polygon, in steradians: that of a square of 20 milliarcseconds.
_SMALLEST = 1e-14


def check_region(encoded: bytes, limits: EventLimits) -> None:
    """Check the encoding of a region; costs about 2 microseconds for each vertex.

    Parameters
    ----------
    encoded : `bytes`
        The encoding.
    limits : `EventLimits`
        How large it may be.

    Raises
    ------
    InvalidEventError
        If sphgeom should not decode it.
    """
    limits.check("max_region_bytes", "a region has {} bytes", len(encoded))
    for member in _members(encoded, limits):
        kind = member[:1]
        if kind == b"p":
            _check_polygon(member)
        elif kind == b"c":
            _check_circle(member)
        elif kind == b"b":
            _check_box(member)
        else:
            raise InvalidEventError(
                f"a region is of type {kind!r}: not a convex polygon, a circle, a box or a union"
                " of these"
            )


def _members(encoded: bytes, limits: EventLimits) -> Iterator[bytes]:
    """Yield the members of a union, or the region itself."""
    if encoded[:1] != b"u":
        yield encoded
        return
    position, number = 1, 0
    while position < len(encoded) or number == 0:
        start = position + _LENGTH.size
        if start > len(encoded):
            raise InvalidEventError("a union of regions ends early")
        position = start + _LENGTH.unpack_from(encoded, position)[0]
        if not start < position <= len(encoded):
            raise InvalidEventError("a union of regions has a member of a wrong length")
        number += 1
        limits.check("max_region_members", "a union of regions has {} members or more", number)
        yield encoded[start:position]


def _check_polygon(encoded: bytes) -> None:
    size = len(encoded) - 1
    if size < 3 * _VECTOR.size or size % _VECTOR.size:
        raise InvalidEventError("a polygon has a wrong length")
    vertices: list[_Vector] = list(_VECTOR.iter_unpack(encoded[1:]))
    for x, y, z in vertices:
        if not abs(x * x + y * y + z * z - 1.0) < _ROUNDING:  # NaN fails too
            raise InvalidEventError("a vertex of a polygon is not a unit vector")
    if not _is_convex(_flattened(vertices)):
        raise InvalidEventError("a polygon is not convex, or its vertices are not distinct")


def _flattened(vertices: Sequence[_Vector]) -> list[tuple[float, float]]:
    """Project vertices from the sphere's centre onto the plane that touches it in their middle.

    Great circles become straight lines, so a polygon is convex if its image is.
    """
    middle = tuple(map(sum, zip(*vertices, strict=True)))
    length = math.hypot(*middle)
    if length < _FARTHEST:
        raise InvalidEventError("a polygon is too large")
    x, y, z = (part / length for part in middle)
    # Two axes of the plane (Duff et al., Journal of Computer Graphics Techniques 6.1, 2017).
    sign = math.copysign(1.0, z)
    a = -1.0 / (sign + z)
    b = x * y * a
    points = []
    for u, v, w in vertices:
        depth = u * x + v * y + w * z
        if depth < _FARTHEST:
            raise InvalidEventError("a polygon is too large")
        east = (u * (1.0 + sign * x * x * a) + v * sign * b - w * sign * x) / depth
        north = (u * b + v * (sign + y * y * a) - w * y) / depth
        points.append((east, north))
    return points


def _is_convex(points: Sequence[tuple[float, float]]) -> bool:
    """Tell whether a closed line around the origin goes around it once, and turns left only."""
    turn = area = 0.0
    (x0, y0), (x1, y1) = points[-2:]
    for x2, y2 in points:
        doubled = x1 * y2 - x2 * y1
        corner = (x1 - x0) * (y2 - y1) - (x2 - x1) * (y1 - y0)
        if doubled <= 0.0 or corner < -_FLAT:
            return False
        area += doubled / 2
        turn += math.atan2(doubled, x1 * x2 + y1 * y2)
        x0, y0, x1, y1 = x1, y1, x2, y2
    return area >= _SMALLEST and abs(turn - math.tau) < 1e-6


def _check_circle(encoded: bytes) -> None:
    if len(encoded) != 1 + _CIRCLE.size:
        raise InvalidEventError("a circle has a wrong length")
    *centre, chord, angle = _CIRCLE.unpack_from(encoded, 1)
    _check_unit(tuple(centre), "the centre of a circle")
    # Written so that NaN fails.
    if not 0.0 <= angle <= math.pi or not abs(chord - 4 * math.sin(angle / 2) ** 2) < _ROUNDING:
        raise InvalidEventError("a circle has no radius, or two different ones")


def _check_box(encoded: bytes) -> None:
    if len(encoded) != 1 + _BOX.size:
        raise InvalidEventError("a box has a wrong length")
    west, east, south, north = _BOX.unpack_from(encoded, 1)
    half = math.pi / 2
    if not (
        0.0 <= west <= math.tau and 0.0 <= east <= math.tau and -half <= south <= north <= half
    ):
        raise InvalidEventError("a box has edges that are no longitudes and latitudes")


def _check_unit(vector: Sequence[float], what: str) -> None:
    # Written so that NaN fails.
    x, y, z = vector
    if not abs(x * x + y * y + z * z - 1.0) < _ROUNDING:
        raise InvalidEventError(f"{what} is not a unit vector")
