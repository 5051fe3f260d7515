"""From the coordinates of a file to the square plane its tiles are cut from, in px of the highest zoom."""

from __future__ import annotations

import re
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Plane = Literal["pixels", "degrees", "metres"]

TILE_PX = 512
UNITS = 16
"""Coordinates are kept as integers in units of 1/16 px."""
MAX_PX = float(1 << 26)
"""Beyond this many px from the origin there is no slide; such features are left out."""
MAP_ZOOM = 14
"""The highest zoom of files in degrees or metres."""

_MAP_PX = float(TILE_PX << MAP_ZOOM)
_HALF_METRES = 20037508.342789244
_DEGREES = re.compile(r"CRS:?84$|EPSG:(\S*:)?4326$", re.IGNORECASE)
_METRES = re.compile(r"EPSG:(\S*:)?(3857|900913)$", re.IGNORECASE)


class OtherPlaneError(Exception):
    """The coordinates must be read as those of another plane, from the beginning."""

    def __init__(self, plane: Plane) -> None:
        super().__init__(plane)
        self.plane: Plane = plane


def plane_of(crs: str) -> Plane:
    """The plane a coordinate system of this name means; all but the two of web maps are px."""
    if _DEGREES.search(crs):
        return "degrees"
    return "metres" if _METRES.search(crs) else "pixels"


def to_plane(points: NDArray[np.float64], plane: Plane) -> NDArray[np.float64]:
    """Points (n, 2) in px of the plane. Raises OtherPlaneError("pixels") for what cannot be degrees or metres."""
    if plane == "pixels" or len(points) == 0:
        return points
    x, y = points[:, 0], points[:, 1]
    if plane == "metres":
        if _largest(points) > 1.01 * _HALF_METRES:
            raise OtherPlaneError("pixels")
        across, down = x / (2 * _HALF_METRES) + 0.5, 0.5 - y / (2 * _HALF_METRES)
    else:
        if _largest(x) > 180.001 or _largest(y) > 90.001:
            raise OtherPlaneError("pixels")
        latitude = np.radians(np.clip(y, -85.051129, 85.051129))
        across, down = x / 360 + 0.5, 0.5 - np.arcsinh(np.tan(latitude)) / (2 * np.pi)
    return np.stack((across * _MAP_PX, down * _MAP_PX), axis=1)


def top_zoom(plane: Plane, right: float, bottom: float) -> int:
    """The highest zoom: px of the file for a slide's plane as large as needed, MAP_ZOOM for a map."""
    if plane != "pixels":
        return MAP_ZOOM
    side, zoom = max(right, bottom), 0
    while TILE_PX << zoom < side:
        zoom += 1
    return zoom


def world_px(zoom: int) -> int:
    """Width and height of the plane in px when ``zoom`` is the highest one."""
    return TILE_PX << zoom


def to_units(points: NDArray[Any]) -> NDArray[np.int32]:
    """Units out of px."""
    return np.rint(points * UNITS).astype(np.int32)


def _largest(numbers: NDArray[np.float64]) -> float:
    return float(np.abs(numbers[np.isfinite(numbers)]).max(initial=0.0))
