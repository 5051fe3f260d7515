"""Which blocks make up a tile: levels, planes, and the order of blocks that overlap."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from microtome.errors import LimitExceeded, UnsupportedFormat
from microtome.formats.czi.segments import Block
from microtome.model import Level, Size

TILE = 512
MAX_LEVELS = 24
MAX_REDUCED_PIXELS = 64_000_000
"""Px of a scene that may be read to stand in for a coarse level it does not have."""
Plane = tuple[int, int, int]
"""Values of C, Z and T."""


class Piece(NamedTuple):
    """A block in a level: its left top corner in px of the level; every ``step``-th px of it is taken."""

    number: int
    left: int
    top: int
    step: int


@dataclass(frozen=True, slots=True)
class _Layer:
    """The pieces of one plane of a level, those that are drawn last at the end; ``boxes`` are (left, top, right,
    bottom) in px of the level.
    """

    pieces: tuple[Piece, ...]
    boxes: NDArray[np.int64]


class Mosaic:
    """The levels of a slide and the pieces of each; scenes stand where they stood on the glass."""

    def __init__(self, blocks: Sequence[Block]) -> None:
        """Slow for many blocks: call it in a thread. Raises UnsupportedFormat, LimitExceeded."""
        first = _first_of_other_dimensions(blocks)
        numbers = [n for n, block in enumerate(blocks) if all(block.planes.get(k, v) == v for k, v in first.items())]
        base = _base(blocks[n].ratio for n in numbers)
        exponents = {n: max(0, round(math.log(blocks[n].ratio, base))) for n in numbers}
        full = [n for n in numbers if exponents[n] == 0]
        if not full:
            raise UnsupportedFormat("The CZI file holds no image of full resolution", feature="no image")
        left, top = min(blocks[n].x for n in full), min(blocks[n].y for n in full)
        right = max(blocks[n].x + blocks[n].width for n in full)
        bottom = max(blocks[n].y + blocks[n].height for n in full)
        size = Size(right - left, bottom - top)
        if max(size) > 1 << 30:
            raise LimitExceeded("The scenes of the CZI file are too far apart", limit="size", value=max(size))
        self.channels = tuple(sorted({blocks[n].planes.get("C", 0) for n in full}))
        self.focal_planes = tuple(sorted({blocks[n].planes.get("Z", 0) for n in full}))
        self.time_points = tuple(sorted({blocks[n].planes.get("T", 0) for n in full}))
        self.scenes = tuple(sorted({blocks[n].planes.get("S", 0) for n in full}))
        self.full = tuple(full)
        self.levels: list[Level] = []
        self._layers: list[dict[Plane, _Layer]] = []
        by_scene: dict[int, dict[int, list[int]]] = {}
        for n in numbers:
            by_scene.setdefault(blocks[n].planes.get("S", 0), {}).setdefault(exponents[n], []).append(n)
        for exponent in range(min(MAX_LEVELS, max(exponents.values()) + 1)):
            pieces = _pieces(blocks, by_scene, exponent, base, (left, top))
            if pieces is None:
                continue
            factor = base**exponent
            scaled = Size(-(-size.width // factor), -(-size.height // factor))
            self.levels.append(Level(scaled, Size(TILE, TILE), float(factor)))
            self._layers.append(_planes(blocks, pieces))

    def pieces(self, level: int, plane: Plane, box: tuple[int, int, int, int]) -> list[Piece]:
        """What reaches into ``box`` (left, top, right, bottom), in the order of drawing."""
        layer = self._layers[level].get(plane)
        if layer is None:
            return []
        left, top, right, bottom = box
        boxes = layer.boxes
        hit = (boxes[:, 0] < right) & (boxes[:, 1] < bottom) & (boxes[:, 2] > left) & (boxes[:, 3] > top)
        return [layer.pieces[n] for n in np.flatnonzero(hit)]


def _first_of_other_dimensions(blocks: Sequence[Block]) -> dict[str, int]:
    """Phases, views, rotations ...: the first of each is shown."""
    first: dict[str, int] = {}
    for block in blocks:
        for name, value in block.planes.items():
            if name not in {"C", "Z", "T", "S", "B"}:
                first[name] = min(value, first.get(name, value))
    return first


def _base(ratios: Iterable[float]) -> int:
    """2 or 3: how much coarser one level is than the one before it."""
    low = [ratio for ratio in ratios if 1.4 < ratio < 3.7]
    return 3 if low and float(np.median(low)) > 2.6 else 2


def _pieces(
    blocks: Sequence[Block],
    by_scene: dict[int, dict[int, list[int]]],
    exponent: int,
    base: int,
    origin: tuple[int, int],
) -> list[Piece] | None:
    """The blocks of a level; scenes that end before it take part with a finer one, unless that were too much."""
    pieces: list[Piece] = []
    anything = False
    for scene in by_scene.values():
        held = max((each for each in scene if each <= exponent), default=None)
        if held is None:
            continue
        anything |= held == exponent
        step = base ** (exponent - held)
        pixels = sum(blocks[n].stored_width * blocks[n].stored_height for n in scene[held])
        if step > 1 and pixels > MAX_REDUCED_PIXELS * _planes_of(blocks, scene[held]):
            return None
        factor = base**exponent
        for n in scene[held]:
            block = blocks[n]
            pieces.append(Piece(n, round((block.x - origin[0]) / factor), round((block.y - origin[1]) / factor), step))
    return pieces if anything else None


def _planes_of(blocks: Sequence[Block], numbers: Sequence[int]) -> int:
    return len({_plane(blocks[n]) for n in numbers})


def _plane(block: Block) -> Plane:
    return block.planes.get("C", 0), block.planes.get("Z", 0), block.planes.get("T", 0)


def _planes(blocks: Sequence[Block], pieces: Sequence[Piece]) -> dict[Plane, _Layer]:
    groups: dict[Plane, list[Piece]] = {}
    for piece in sorted(pieces, key=lambda each: (blocks[each.number].planes.get("S", 0), blocks[each.number].mosaic)):
        groups.setdefault(_plane(blocks[piece.number]), []).append(piece)
    layers: dict[Plane, _Layer] = {}
    for plane, group in groups.items():
        boxes = np.empty((len(group), 4), np.int64)
        for row, piece in enumerate(group):
            block = blocks[piece.number]
            width, height = -(-block.stored_width // piece.step), -(-block.stored_height // piece.step)
            boxes[row] = piece.left, piece.top, piece.left + width, piece.top + height
        layers[plane] = _Layer(tuple(group), boxes)
    return layers
