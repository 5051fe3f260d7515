"""Writing the demonstration slide: a classic TIFF as Aperio's scanners write it (TIFF 6.0, TIFF Technical Note 2)."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from microtome.demo.paint import Section
from microtome.model import Size
from microtome.pixels import resample

TILE = 256
BLOCK = 1024
QUALITY = 82
MPP = 0.499
Pixels = NDArray[np.uint8]
Values = dict[int, tuple[int, bytes]]
"""Tag -> (field type, packed values)."""


def write_demo(path: Path, *, seed: int = 1, width: int = 8192, height: int = 6144) -> None:
    """Paint a section and write it to ``path``: levels 1, 4, 16, thumbnail, label and macro. Same seed, same bytes."""
    section = Section(width, height, seed)
    with path.open("wb") as file:
        writer = _Writer(file)
        quarter = np.full((-(-height // 4), -(-width // 4), 3), 255, np.uint8)
        whole = f"{width}x{height}"
        text = f"Aperio Image Library v12.0.15\r\n{whole} [0,0 {whole}] ({TILE}x{TILE}) JPEG/RGB Q={QUALITY}"
        facts = (
            f"|AppMag = 20|MPP = {MPP:.4f}|ScanScope ID = MICROTOME|Filename = microtome demo, seed {seed}"
            "|Title = Procedurally painted section|Date = 01/01/26|Time = 12:00:00"
        )
        writer.tiled((height, width), _painted(section, quarter), text + facts)
        levels = [quarter]
        while max(levels[-1].shape[:2]) > 1024 and len(levels) < 3:
            levels.append(resample.reduce(levels[-1], 4))
        small = levels[-1]
        thumbnail = _fit(small, 768)
        writer.strips(thumbnail, text + facts, subfile=0)
        for level in levels:
            size = f"{level.shape[1]}x{level.shape[0]}"
            writer.tiled(level.shape[:2], _cut(level), f"{text} -> {size} JPEG/RGB Q={QUALITY}{facts}")
        writer.strips(_label(seed), "Aperio Image Library v12.0.15\r\nlabel 400x400", subfile=1)
        macro = _macro(small)
        writer.strips(macro, f"Aperio Image Library v12.0.15\r\nmacro {macro.shape[1]}x{macro.shape[0]}", subfile=9)
        writer.finish()


def _painted(section: Section, quarter: Pixels) -> Iterator[Pixels]:
    """The tiles of level 0 row by row; fills ``quarter`` on the way, in bounded memory."""
    for top in range(0, section.height, TILE):
        high = min(TILE, section.height - top)
        row = np.empty((high, section.width, 3), np.uint8)
        for left in range(0, section.width, BLOCK):
            row[:, left : left + BLOCK] = section.block(left, top, min(BLOCK, section.width - left), high)
        small = resample.reduce(row, 4)
        quarter[top // 4 : top // 4 + small.shape[0], : small.shape[1]] = small
        yield from _cut(row)


def _cut(image: Pixels) -> Iterator[Pixels]:
    """Tiles row by row; those at the edge are filled up with their last pixels."""
    for top in range(0, image.shape[0], TILE):
        for left in range(0, image.shape[1], TILE):
            tile = image[top : top + TILE, left : left + TILE]
            missing = (0, TILE - tile.shape[0]), (0, TILE - tile.shape[1]), (0, 0)
            yield np.ascontiguousarray(np.pad(tile, missing, mode="edge"))


def _jpeg(image: Pixels) -> bytes:
    return bytes(
        imagecodecs.jpeg8_encode(np.ascontiguousarray(image), level=QUALITY, colorspace="RGB", subsampling="420")
    )


def _split(stream: bytes) -> tuple[bytes, bytes]:
    """(tables, abbreviated stream) of a JPEG: the tables of all tiles are the same and are stored once."""
    at, tables, rest = 2, b"", b""
    while True:
        marker, length = stream[at + 1], int.from_bytes(stream[at + 2 : at + 4], "big")
        segment = stream[at : at + 2 + length]
        if marker in {0xDB, 0xC4}:
            tables += segment
        elif not 0xE0 <= marker <= 0xEF:
            rest += segment
        at += 2 + length
        if marker == 0xDA:
            return b"\xff\xd8" + tables + b"\xff\xd9", b"\xff\xd8" + rest + stream[at:]


class _Writer:
    """A little-endian classic TIFF, written from front to back; directories follow their image."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._file.write(struct.pack("<2sHI", b"II", 42, 0))
        self._link = 4
        """Where the offset of the next directory belongs."""

    def tiled(self, shape: tuple[int, ...], tiles: Iterator[Pixels], text: str) -> None:
        """An image of 256 px JPEG tiles, YCbCr 4:2:0 with shared tables."""
        tables = b""
        places: list[tuple[int, int]] = []
        for tile in tiles:
            tables, body = _split(_jpeg(tile))
            places.append((self._place(body), len(body)))
        self._directory(
            {
                **_image(shape, text, compression=7, photometric=6, subfile=0),
                322: _short(TILE), 323: _short(TILE), 324: _longs(*(offset for offset, _ in places)),
                325: _longs(*(count for _, count in places)), 347: (7, tables), 530: _short(2, 2),
            }
        )  # fmt: skip

    def strips(self, image: Pixels, text: str, *, subfile: int) -> None:
        """A small image in one JPEG strip."""
        data = _jpeg(image)
        offset = self._place(data)
        self._directory(
            {
                **_image(image.shape, text, compression=7, photometric=6, subfile=subfile),
                273: _longs(offset), 278: _longs(image.shape[0]), 279: _longs(len(data)), 530: _short(2, 2),
            }
        )  # fmt: skip

    def finish(self) -> None:
        """Nothing follows the last directory."""
        self._file.flush()

    def _place(self, data: bytes) -> int:
        self._file.write(b"\0" * (-self._file.tell() % 2))
        offset = self._file.tell()
        self._file.write(data)
        return offset

    def _directory(self, values: Values) -> None:
        entries: list[bytes] = []
        for tag, (kind, data) in sorted(values.items()):
            count = len(data) // {2: 1, 3: 2, 4: 4, 5: 8, 7: 1}[kind]
            inline = data.ljust(4, b"\0") if len(data) <= 4 else struct.pack("<I", self._place(data))
            entries.append(struct.pack("<HHI", tag, kind, count) + inline)
        offset = self._place(struct.pack("<H", len(entries)) + b"".join(entries) + b"\0\0\0\0")
        end = self._file.tell()
        self._file.seek(self._link)
        self._file.write(struct.pack("<I", offset))
        self._file.seek(end)
        self._link = end - 4


def _image(shape: tuple[int, ...], text: str, *, compression: int, photometric: int, subfile: int) -> Values:
    return {
        254: _longs(subfile), 256: _longs(shape[1]), 257: _longs(shape[0]), 258: _short(8, 8, 8),
        259: _short(compression), 262: _short(photometric), 270: (2, text.encode("ascii") + b"\0"), 277: _short(3),
        284: _short(1),
    }  # fmt: skip


def _short(*values: int) -> tuple[int, bytes]:
    return 3, struct.pack(f"<{len(values)}H", *values)


def _longs(*values: int) -> tuple[int, bytes]:
    return 4, struct.pack(f"<{len(values)}I", *values)


def _fit(image: Pixels, longest: int) -> Pixels:
    scale = longest / max(image.shape[:2])
    return resample.resize(image, Size(max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))))


def _drawn(size: tuple[int, int], color: tuple[int, int, int], draw: Callable[[ImageDraw.ImageDraw], None]) -> Pixels:
    image = Image.new("RGB", size, color)
    draw(ImageDraw.Draw(image))
    return np.asarray(image)


def _label(seed: int) -> Pixels:
    """A paper label with a bar code, as a laboratory prints it."""
    random = np.random.Generator(np.random.PCG64(seed))
    widths = random.integers(2, 7, 60).tolist()

    def draw(pen: ImageDraw.ImageDraw) -> None:
        ink = (30, 32, 40)
        pen.rectangle((10, 10, 389, 389), outline=(190, 190, 184), width=2)
        pen.text((34, 32), "MICROTOME", fill=ink, font=ImageFont.load_default(size=44))
        pen.text((34, 92), f"DEMO-{seed:04d}", fill=ink, font=ImageFont.load_default(size=36))
        pen.text((34, 146), "H&E   20x", fill=ink, font=ImageFont.load_default(size=30))
        at = 34
        for number, width in enumerate(widths):
            if at + width > 362:
                break
            if number % 2 == 0:
                pen.rectangle((at, 210, at + width - 1, 320), fill=ink)
            at += width
        pen.text((34, 336), "NOT A PATIENT", fill=(150, 40, 40), font=ImageFont.load_default(size=24))

    return _drawn((400, 400), (246, 245, 238), draw)


def _macro(section: Pixels) -> Pixels:
    """The whole glass: label at the left, section in the middle."""

    def draw(pen: ImageDraw.ImageDraw) -> None:
        pen.rectangle((0, 0, 1279, 429), outline=(170, 176, 178), width=6)
        pen.rectangle((18, 18, 360, 411), fill=(246, 245, 238))
        pen.text((60, 150), "MICROTOME", fill=(30, 32, 40), font=ImageFont.load_default(size=42))
        pen.text((60, 214), "DEMO", fill=(30, 32, 40), font=ImageFont.load_default(size=36))

    glass = _drawn((1280, 430), (226, 229, 230), draw).copy()
    tissue = _fit(section, 420)[:390]
    top, left = (430 - tissue.shape[0]) // 2, 640
    part = glass[top : top + tissue.shape[0], left : left + tissue.shape[1]].astype(np.uint16)
    glass[top : top + tissue.shape[0], left : left + tissue.shape[1]] = (
        (part * tissue // 246).clip(0, 255).astype(np.uint8)
    )
    return glass
