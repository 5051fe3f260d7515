"""Small slides for the pages: four colours whose places are known, so that a picture of the screen can be checked."""

from __future__ import annotations

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
