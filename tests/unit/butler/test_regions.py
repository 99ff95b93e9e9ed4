"""Encoded regions are checked before sphgeom decodes them."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from itertools import combinations, pairwise

import hypothesis.strategies as st
import pytest
from hypothesis import example, given
from lsst.sphgeom import (
    Angle,
    Box,
    Circle,
    ConvexPolygon,
    Ellipse,
    IntersectionRegion,
    LonLat,
    Region,
    UnionRegion,
    UnitVector3d,
)

from app.butler.events.limits import EventLimits
from app.butler.events.regions import check_region
from models.errors import InvalidEventError, OverLimitError
from simulator.camera import DETECTORS, Detector, footprint
from tests.support.regions import circle, nested

LIMITS = EventLimits()

X, Y, Z = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)


def around(radius: float, number: int) -> ConvexPolygon:
    """Return a polygon with its vertices on a circle with a radius in radians."""
    angles = [math.tau * n / number for n in range(number)]
    return ConvexPolygon(
        [
            UnitVector3d(
                math.cos(radius),
                math.sin(radius) * math.cos(angle),
                math.sin(radius) * math.sin(angle),
            )
            for angle in angles
        ]
    )


def polygon(*vertices: Sequence[float]) -> bytes:
    return b"p" + b"".join(struct.pack("<3d", *vertex) for vertex in vertices)


def vertices(region: ConvexPolygon) -> list[tuple[float, float, float]]:
    return [(v.x(), v.y(), v.z()) for v in region.getVertices()]


def union(*members: bytes) -> bytes:
    return b"u" + b"".join(struct.pack("<Q", len(member)) + member for member in members)


GOOD = {
    "a detector": DETECTORS[7].region(10, -30).encode(),
    "a focal plane": footprint(359.9, 89.5).encode(),
    "a visit of LSSTCam has 71 vertices": around(0.03, 71).encode(),
    "a pixel of HEALPix of order 12": around(1e-4, 4).encode(),
    "a tract": around(0.02, 4).encode(),
    "as many vertices as the limit allows": around(0.3, 682).encode(),
    "a circle": circle(1.75).encode(),
    "a box": Box(LonLat.fromDegrees(350, -90), LonLat.fromDegrees(10, -80)).encode(),
    "a union": UnionRegion(circle(1), around(0.1, 5), Box.full()).encode(),
}


@pytest.mark.parametrize("encoded", GOOD.values(), ids=GOOD)
def test_what_dimension_records_need_is_accepted(encoded: bytes) -> None:
    check_region(encoded, LIMITS)
    assert Region.decode(encoded).encode() == encoded


SQUARE = vertices(around(0.01, 4))
ELLIPSE = Ellipse(
    UnitVector3d(*X), Angle.fromDegrees(2), Angle.fromDegrees(1), Angle.fromDegrees(0)
).encode()

BAD = {
    "nothing": (b"", "of type b''"),
    "an unknown type": (b"x" * 41, "of type b'x'"),
    "an ellipse": (ELLIPSE, "of type b'e'"),
    "an ellipse of zeros": (b"e" + bytes(112), "of type b'e'"),
    "an intersection": (IntersectionRegion(circle(1), circle(2)).encode(), "of type b'i'"),
    "a type alone": (b"p", "a polygon has a wrong length"),
    "two vertices": (polygon(X, Y), "a polygon has a wrong length"),
    "a byte more": (polygon(*SQUARE) + b"\0", "a polygon has a wrong length"),
    "three equal vertices": (polygon(X, X, X), "not convex"),
    "a vertex twice": (polygon(SQUARE[0], *SQUARE), "not convex"),
    "antipodal vertices": (polygon(X, (-1.0, 0.0, 0.0), Y), "a polygon is too large"),
    "a hemisphere": (polygon(X, Y, (-1.0, 0.0, 0.0), (0.0, -1.0, 0.0)), "too large"),
    "vertices on one great circle": (
        polygon(*[(math.cos(n), math.sin(n), 0.0) for n in (0.0, 0.1, 0.2)]),
        "not convex",
    ),
    "clockwise": (polygon(*SQUARE[::-1]), "not convex"),
    "crossing edges": (polygon(SQUARE[0], SQUARE[2], SQUARE[1], SQUARE[3]), "not convex"),
    "twice around": (polygon(*SQUARE, *SQUARE), "not convex"),
    "a dent": (polygon(*vertices(around(0.2, 8))[:7], SQUARE[0]), "not convex"),
    "a vertex that is no unit vector": (polygon((2.0, 0.0, 0.0), Y, Z), "not a unit vector"),
    "nan": (polygon((math.nan, 0.0, 0.0), Y, Z), "not a unit vector"),
    "infinity": (polygon((math.inf, 0.0, 0.0), Y, Z), "not a unit vector"),
    "zeros": (polygon((0.0, 0.0, 0.0), Y, Z), "not a unit vector"),
    "an empty circle": (Circle.empty().encode(), "a circle has no radius"),
    "a circle of nan": (b"c" + struct.pack("<5d", *X, math.nan, math.nan), "no radius"),
    "a circle with two radii": (b"c" + struct.pack("<5d", *X, 1.0, 0.1), "two different ones"),
    "a circle around nothing": (b"c" + struct.pack("<5d", 0, 0, 0, 0, 0), "not a unit vector"),
    "a short circle": (circle(1).encode()[:-1], "a circle has a wrong length"),
    "an empty box": (Box.empty().encode(), "a box has edges"),
    "a box upside down": (b"b" + struct.pack("<4d", 0.0, 1.0, 0.5, -0.5), "a box has edges"),
    "a short box": (Box.full().encode()[:-8], "a box has a wrong length"),
    "an empty union": (b"u", "ends early"),
    "a union that ends early": (union(circle(1).encode())[:-1], "a wrong length"),
    "a union with a member of no length": (union(b""), "a wrong length"),
    "a union with a negative length": (
        b"u" + struct.pack("<Q", 2**64 - 9) + circle(1).encode(),
        "a wrong length",
    ),
    "a union in a union": (union(union(circle(1).encode())), "of type b'u'"),
    "an ellipse in a union": (union(circle(1).encode(), ELLIPSE), "of type b'e'"),
    "nested a hundred times": (nested(100), "of type"),
}


@pytest.mark.parametrize(("encoded", "reason"), BAD.values(), ids=BAD)
def test_everything_else_is_refused_with_a_reason(encoded: bytes, reason: str) -> None:
    with pytest.raises(InvalidEventError, match=reason):
        check_region(encoded, LIMITS)


@pytest.mark.parametrize(
    ("encoded", "variable"),
    [
        (around(0.3, 683).encode(), "BUTLER_WRITER_MAX_REGION_BYTES"),
        (nested(60_000), "BUTLER_WRITER_MAX_REGION_BYTES"),
        (union(*[circle(1).encode()] * 65), "BUTLER_WRITER_MAX_REGION_MEMBERS"),
    ],
)
def test_what_is_too_large_is_refused_with_the_name_of_the_limit(
    encoded: bytes, variable: str
) -> None:
    with pytest.raises(OverLimitError, match=variable):
        check_region(encoded, LIMITS)


@given(
    st.floats(0, 360), st.floats(-90, 90), st.sampled_from(DETECTORS), st.sampled_from([0, 1, 2])
)
def test_the_regions_of_a_camera_are_accepted_wherever_it_points(
    ra: float, dec: float, detector: Detector, turned: int
) -> None:
    corners = vertices(detector.region(ra, dec))
    check_region(polygon(*corners[turned:], *corners[:turned]), LIMITS)
    check_region(footprint(ra, dec).encode(), LIMITS)


@given(
    st.lists(st.tuples(st.floats(-0.03, 0.03), st.floats(-0.03, 0.03)), min_size=3, max_size=60),
    st.floats(0, 360),
    st.floats(-90, 90),
)
@example([(0, 0), (0, 0.015625), (0.015625, 0), (0, 9.7e-180)], 0, 0)  # two vertices are one
def test_every_convex_hull_that_is_no_line_is_accepted(
    points: list[tuple[float, float]], ra: float, dec: float
) -> None:
    """Visits have the convex hull of their detectors' corners, some of them along a line."""
    centre = UnitVector3d(LonLat.fromDegrees(ra, dec))
    east = UnitVector3d.orthogonalTo(centre)
    north = UnitVector3d(centre.cross(east))
    corners = [
        UnitVector3d(*(centre[i] + u * east[i] + v * north[i] for i in range(3))) for u, v in points
    ]
    try:
        hull = ConvexPolygon(corners)
    except ValueError:
        return
    is_thin = area(hull) < 1e-12
    places = [(vertex.x(), vertex.y(), vertex.z()) for vertex in hull.getVertices()]
    has_twins = any(math.dist(one, other) < 1e-12 for one, other in combinations(places, 2))
    try:
        check_region(hull.encode(), LIMITS)
    except InvalidEventError:
        assert is_thin or has_twins


def area(hull: ConvexPolygon) -> float:
    """Return the solid angle of a polygon, in steradians."""
    first, *others = vertices(hull)
    return sum(_solid_angle(first, second, third) for second, third in pairwise(others))


def _solid_angle(*corners: tuple[float, float, float]) -> float:
    (ax, ay, az), (bx, by, bz), (cx, cy, cz) = corners
    volume = ax * (by * cz - bz * cy) - ay * (bx * cz - bz * cx) + az * (bx * cy - by * cx)
    products = sum(
        u[0] * v[0] + u[1] * v[1] + u[2] * v[2] for u, v in pairwise((*corners, corners[0]))
    )
    return 2 * math.atan2(volume, 1 + products)
