"""Small slides for the pages: four colours whose places are known, so that a picture of the screen can be checked."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

WIDTH, HEIGHT = 4100, 3000
"""Neither is a multiple of a tile: the last column and row of tiles are padded."""
QUADRANTS = {(0, 0): (200, 60, 60), (1, 0): (60, 160, 60), (0, 1): (60, 60, 200), (1, 1): (200, 180, 60)}
"""(column, row) of a quarter of the slide -> its colour."""
MPP = 0.5
MANY = 230
HOSTILE = "a&b <script>alert(1)<'.svs"


def paint(width: int = WIDTH, height: int = HEIGHT) -> NDArray[np.uint8]:
    picture = np.empty((height, width, 3), np.uint8)
    for (column, row), color in QUADRANTS.items():
        across = slice(0, width // 2) if column == 0 else slice(width // 2, None)
        down = slice(0, height // 2) if row == 0 else slice(height // 2, None)
        picture[down, across] = color
    return picture


def write_svs(path: Path, *, mpp: float = MPP, power: int = 20) -> None:
    """A pyramid of two levels with label and macro, described as Aperio's scanners do."""
    path.parent.mkdir(parents=True, exist_ok=True)
    full, small = paint(), paint(WIDTH // 4, HEIGHT // 4)
    head = "Aperio Image Library v12.0.0"
    size = f"{WIDTH}x{HEIGHT} [0,0 {WIDTH}x{HEIGHT}] (240x240) JPEG/RGB Q=90"
    about = f"{head}\r\n{size}|AppMag = {power}|MPP = {mpp}|Stain = HE"
    with tifffile.TiffWriter(path) as file:
        jpeg = {"photometric": "rgb", "compression": "jpeg", "compressionargs": {"level": 95}, "metadata": None}
        file.write(full, tile=(240, 240), description=about, **jpeg)
        file.write(paint(205, 150), rowsperstrip=16, description=f"{head}\r\nthumbnail", **jpeg)
        file.write(small, tile=(256, 256), description=f"{head}\r\n{WIDTH // 4}x{HEIGHT // 4}", **jpeg)
        strips = {"photometric": "rgb", "compression": "lzw", "metadata": None}
        label, macro = np.full((120, 100, 3), 230, np.uint8), np.full((100, 260, 3), 210, np.uint8)
        file.write(label, description=f"{head}\r\nlabel 100x120", subfiletype=1, **strips)
        file.write(macro, description=f"{head}\r\nmacro 260x100", subfiletype=9, **strips)


STACK = 600, 400
"""Width and height of ``stack.ome.tif``."""
BRIGHT = 40000


def write_stack(path: Path) -> None:
    """Fluorescence: channel 0 is bright left of the middle, channel 1 below it; 3 time points of 4 focal planes.

    Focal plane z of channel 0 has BRIGHT * (z + 1) / 4; at time t the right quarter of channel 1 has BRIGHT * t / 2
    in its upper half.
    """
    width, height = STACK
    samples = np.zeros((3, 4, 2, height, width), np.uint16)
    for z in range(4):
        samples[:, z, 0, :, : width // 2] = BRIGHT * (z + 1) // 4
    samples[:, :, 1, height // 2 :, :] = BRIGHT
    for t in range(3):
        samples[t, :, 1, : height // 2, 3 * width // 4 :] = BRIGHT * t // 2
    channels = {"Name": ["Nuclei", "Membrane"], "Color": [0x0000FFFF, 0x00FF00FF]}
    spacing = {f"PhysicalSize{axis}": 0.5 for axis in "XY"} | {f"PhysicalSize{axis}Unit": "µm" for axis in "XY"}
    about = {"axes": "TZCYX", "Channel": channels, **spacing}
    tifffile.imwrite(
        path, samples, ome=True, tile=(128, 128), compression="zlib", photometric="minisblack", metadata=about
    )


SQUARES = {
    "tumour": (1800, 1300, 2000, 1450),
    "stroma": (2100, 1300, 2300, 1450),
    "nucleus": (1900, 1600, 1960, 1650),
}
"""Class of a shape of ``section.geojson`` -> left, top, right, bottom in px of the slide."""


def write_shapes(path: Path) -> None:
    """Rectangles in px of the slide, with properties."""

    def feature(number: int, kind: str) -> dict[str, object]:
        left, top, right, bottom = SQUARES[kind]
        ring = [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]
        about = {"class": kind, "area": (right - left) * (bottom - top), "checked": kind == "tumour"}
        geometry = {"type": "Polygon", "coordinates": [ring]}
        return {"type": "Feature", "id": number, "properties": about, "geometry": geometry}

    features = [feature(number, kind) for number, kind in enumerate(SQUARES, 1)]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))


def write_crowd(folder: Path, across: int) -> None:
    """A set of one zoom, 4 by 4 tiles: ``across`` times ``across`` discs, each in the middle of its place."""
    import mapbox_vector_tile

    plane, tiles, corners = 4096, 4, 12
    pitch, side = plane / across, 4096 // 4
    angle = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    disc = np.stack((np.cos(angle), np.sin(angle)), axis=1) * pitch / 4
    places = (np.arange(across) + 0.5) * pitch
    for column in range(tiles):
        for row in range(tiles):
            columns, rows = (
                places[(places > at * side - pitch) & (places < (at + 1) * side + pitch)] for at in (column, row)
            )
            features = []
            for x in columns:
                for y in rows:
                    middle = np.array([x - column * side, y - row * side])
                    ring = ((disc + middle) * 4096 / side).round().astype(int).tolist()
                    geometry = {"type": "Polygon", "coordinates": [[*ring, ring[0]]]}
                    features.append({"geometry": geometry, "properties": {}})
            layer = {"name": "nuclei", "features": features}
            data = mapbox_vector_tile.encode([layer], default_options={"y_coord_down": True, "extents": 4096})
            path = folder / "2" / str(column) / f"{row}.mvt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)


def write_looks(folder: Path) -> Path:
    """What the tests of pictures and shapes look at."""
    write_stack(folder / "stack.ome.tif")
    write_svs(folder / "section.svs")
    write_shapes(folder / "section.geojson")
    write_svs(folder / "alone.svs")
    (folder / "damaged" / "0" / "0").mkdir(parents=True)
    (folder / "damaged" / "0" / "0" / "0.mvt").write_bytes(b"\x1a\x7fnot as long as it says")
    return folder


def write_folder(folder: Path) -> Path:
    """What the tests look at."""
    write_svs(folder / "section.svs")
    write_svs(folder / "cases" / "first.svs")
    write_svs(folder / "cases" / "second.svs", mpp=0.25, power=40)
    write_svs(folder / "cases" / "2024" / "third.svs")
    os.link(folder / "section.svs", folder / HOSTILE)
    with tifffile.TiffWriter(folder / "plain.tif") as file:
        file.write(paint(700, 520), tile=(256, 256), photometric="rgb", compression="deflate", metadata=None)
    (folder / "broken.svs").write_bytes(b"this is no TIFF, whatever its name says" * 20)
    (folder / "many").mkdir()
    for number in range(MANY):
        os.link(folder / "plain.tif", folder / "many" / f"slide-{number:03}.tif")
    return folder
