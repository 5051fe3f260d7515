"""Small slides of vendors of whom there are no files: MIRAX and Hamamatsu VMS, as OpenSlide understands them."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
from PIL import Image

SIDE = 256
ACROSS, DOWN = 3, 2
SLIDE_ID = "0123456789ABCDEF0123456789ABCDEF"
BACKGROUND = (0xF0, 0xE0, 0xD0)
MISSING = (2, 1)
"""The place of the one MIRAX tile that was not scanned."""


def blocks(width: int, height: int, seed: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Squares of 16 px in random colours."""
    colors = np.random.default_rng(seed).integers(0, 255, (height // 16, width // 16, 3))
    return np.kron(colors, np.ones((16, 16, 1))).astype(np.uint8)


def jpeg(array: np.ndarray[Any, np.dtype[np.uint8]], **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "JPEG", quality=90, **options)
    return buffer.getvalue()


def mirax(name: str = "slide") -> dict[str, bytes]:
    """Two levels of 3 x 2 camera images that overlap by 16 px; one is missing."""
    data = b""
    pages: list[list[tuple[int, int, int, int]]] = [[], []]
    for level, step in enumerate((1, 2)):
        for row in range(0, DOWN, step):
            for column in range(0, ACROSS, step):
                if level == 0 and (column, row) == MISSING:
                    continue
                image = jpeg(blocks(SIDE, SIDE, seed=column + 10 * row + 100 * level))
                pages[level].append((row * ACROSS + column, len(data), len(image), 0))
                data += image
    return {
        f"{name}.mrxs": jpeg(blocks(64, 64, seed=1)),
        f"{name}/Slidedat.ini": _slidedat().encode(),
        f"{name}/Index.dat": _index(pages),
        f"{name}/Data0000.dat": data,
    }


def _slidedat() -> str:
    red, green, blue = BACKGROUND
    lines = [
        "[GENERAL]", "SLIDE_VERSION = 01.02", f"SLIDE_ID = {SLIDE_ID}", f"IMAGENUMBER_X = {ACROSS}",
        f"IMAGENUMBER_Y = {DOWN}", "OBJECTIVE_MAGNIFICATION = 20", "[HIERARCHICAL]", "HIER_COUNT = 1",
        "HIER_0_NAME = Slide zoom level", "HIER_0_COUNT = 2", "HIER_0_VAL_0_SECTION = LEVEL_0",
        "HIER_0_VAL_1_SECTION = LEVEL_1", "NONHIER_COUNT = 0", "INDEXFILE = Index.dat", "[DATAFILE]",
        "FILE_COUNT = 1", "FILE_0 = Data0000.dat",
    ]  # fmt: skip
    for level in range(2):
        lines += [
            f"[LEVEL_{level}]", f"OVERLAP_X = {16 >> level}", f"OVERLAP_Y = {16 >> level}",
            f"MICROMETER_PER_PIXEL_X = {0.25 * 2**level}", f"MICROMETER_PER_PIXEL_Y = {0.25 * 2**level}",
            f"IMAGE_FILL_COLOR_BGR = {blue << 16 | green << 8 | red}", f"DIGITIZER_WIDTH = {SIDE}",
            f"DIGITIZER_HEIGHT = {SIDE}", "IMAGE_FORMAT = JPEG", f"IMAGE_CONCAT_FACTOR = {level}",
        ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _index(pages: list[list[tuple[int, int, int, int]]]) -> bytes:
    out = bytearray(b"01.02" + SLIDE_ID.encode())
    table = len(out) + 8
    out += struct.pack("<ii", table, 0) + bytes(4 * len(pages))
    for level, rows in enumerate(pages):
        struct.pack_into("<i", out, table + 4 * level, len(out))
        out += struct.pack("<iiii", 0, len(out) + 8, len(rows), 0)
        for row in rows:
            out += struct.pack("<4i", *row)
    return bytes(out)


def vms(name: str = "slide") -> dict[str, bytes]:
    """One JPEG of 640 x 512 px with its map and macro image."""
    index = (
        "[Virtual Microscope Specimen]\nNoLayers=1\nNoJpegColumns=1\nNoJpegRows=1\n"
        f"ImageFile={name}.jpg\nMapFile={name}_map.jpg\nMacroImage={name}_macro.jpg\nOptimisationFile={name}.opt\n"
        "SourceLens=20\nPhysicalWidth=640000\nPhysicalHeight=512000\n"
    )
    whole = blocks(640, 512, seed=3)
    return {
        f"{name}.vms": index.encode(),
        f"{name}.jpg": jpeg(whole, restart_marker_blocks=4, subsampling=0),
        f"{name}_map.jpg": jpeg(whole[::8, ::8].copy(), restart_marker_rows=1, subsampling=0),
        f"{name}_macro.jpg": jpeg(whole[::4, ::4].copy()),
    }
