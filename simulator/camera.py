"""A camera like LSSTCam: 21 science rafts of nine sensors, with the same names and numbers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from lsst.sphgeom import ConvexPolygon, LonLat, UnitVector3d

__all__ = ["DETECTORS", "INSTRUMENT", "Detector", "footprint"]

INSTRUMENT = "LSSTCam"

#: Rows and columns of rafts.  The corner rafts guide the telescope and take no science images.
_RAFTS = range(5)
_SENSORS = range(3)
_CORNERS = {(row, column) for row in (0, 4) for column in (0, 4)}

#: Size of a sensor on the sky, in degrees (4k pixels of 0.2 arcsec), and distance to the next.
_SENSOR_SIZE = 0.224
_PITCH = 0.235


@dataclass(frozen=True)
class Detector:
    """One science sensor.

    Attributes
    ----------
    id : `int`
        Its number.
    raft, sensor : `str`
        Names such as ``R22`` and ``S11``.
    x, y : `int`
        Its position in the focal plane, in sensors from the centre.
    """

    id: int
    raft: str
    sensor: str
    x: int
    y: int

    @property
    def name(self) -> str:
        """Its full name, such as ``R22_S11``."""
        return f"{self.raft}_{self.sensor}"

    @cached_property
    def _offsets(self) -> list[tuple[float, float]]:
        x, y, half = self.x * _PITCH, self.y * _PITCH, _SENSOR_SIZE / 2
        return [(x + half * u, y + half * v) for u, v in ((-1, -1), (1, -1), (1, 1), (-1, 1))]

    def region(self, ra: float, dec: float) -> ConvexPolygon:
        """Return its field of view when the telescope points at (ra, dec), in degrees."""
        return _polygon(ra, dec, self._offsets)


def _detectors() -> tuple[Detector, ...]:
    rafts = [(row, column) for row in _RAFTS for column in _RAFTS if (row, column) not in _CORNERS]
    sensors = [(raft, row, column) for raft in rafts for row in _SENSORS for column in _SENSORS]
    return tuple(
        Detector(
            id=number,
            raft=f"R{raft[0]}{raft[1]}",
            sensor=f"S{row}{column}",
            x=(raft[1] - 2) * 3 + column - 1,
            y=(raft[0] - 2) * 3 + row - 1,
        )
        for number, (raft, row, column) in enumerate(sensors)
    )


#: The 189 science detectors.
DETECTORS = _detectors()


def footprint(ra: float, dec: float) -> ConvexPolygon:
    """Return a region that contains all detectors' fields of view at (ra, dec), in degrees."""
    half = 7.5 * _PITCH
    return _polygon(ra, dec, [(-half, -half), (half, -half), (half, half), (-half, half)])


def _polygon(ra: float, dec: float, offsets: list[tuple[float, float]]) -> ConvexPolygon:
    """Project corners, given in degrees on the tangent plane, onto the sky."""
    centre = UnitVector3d(LonLat.fromDegrees(ra, dec))
    east = UnitVector3d.orthogonalTo(UnitVector3d(0.0, 0.0, 1.0), centre)
    north = centre.cross(east)
    scale = 3.141592653589793 / 180
    return ConvexPolygon(
        [
            UnitVector3d(
                *(
                    centre[i] + scale * (x * east[i] + y * north[i] / north.getNorm())
                    for i in range(3)
                )
            )
            for x, y in offsets
        ]
    )
