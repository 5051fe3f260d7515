"""OME-Zarr images written by zarr-python, the oracle of these tests, and put into a store in memory."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from microtome.formats.ngff import NgffFormat
from microtome.formats.ngff.slide import NgffSlide
from microtome.storage.folder import PinnedFolder
from microtome.storage.memory import MemoryStore

UNITS = {"t": "second", "z": "micrometer", "y": "micrometer", "x": "micrometer"}
Levels = list[NDArray[Any]]


def samples(shape: Sequence[int], dtype: str = "uint16", seed: int = 1) -> NDArray[Any]:
    """Noise that uses the whole range of small types."""
    numbers = np.random.default_rng(seed).integers(0, 1 << 15, size=shape)
    if dtype == "bool":
        return numbers % 2 == 1
    return (numbers / 7).astype(dtype) if dtype.startswith("float") else numbers.astype(dtype)


def pyramid(shape: Sequence[int], axes: str, levels: int = 3, dtype: str = "uint16", factor: int = 2) -> Levels:
    """Levels that differ in content, so that a wrong one is seen."""
    found: Levels = []
    for number in range(levels):
        scaled = [
            max(1, -(-side // factor**number)) if axis in "yx" else side for axis, side in zip(axes, shape, strict=True)
        ]
        found.append(samples(scaled, dtype, seed=number + 1))
    return found


def attributes(axes: str, paths: Sequence[str], **changed: Any) -> dict[str, Any]:
    """Multiscales of 0.4 and 0.5, 0.25 by 0.5 µm per px (x, y)."""
    scale = {"x": 0.25, "y": 0.5, "z": 2.0}
    multiscale: dict[str, Any] = {
        "name": "image",
        "axes": [
            {"name": axis, "type": "channel"} if axis == "c" else {"name": axis, "type": "space", "unit": UNITS[axis]}
            for axis in axes
        ],
        "datasets": [
            {
                "path": path,
                "coordinateTransformations": [
                    {"type": "scale", "scale": [scale.get(axis, 1.0) * (2**n if axis in "xy" else 1) for axis in axes]}
                ],
            }
            for n, path in enumerate(paths)
        ],
    }
    return {"multiscales": [multiscale | changed.pop("multiscale", {})], **changed}


def write(
    folder: Path,
    levels: Levels,
    axes: str,
    *,
    version: Any = 2,
    chunks: Sequence[int],
    paths: Sequence[str] | None = None,
    ome: dict[str, Any] | None = None,
    **options: Any,
) -> Path:
    """Write an image with zarr-python; ``options`` go to ``zarr.create_array``."""
    paths = paths or [str(number) for number in range(len(levels))]
    told = ome or attributes(axes, paths)
    if version == 3:
        zarr.open_group(folder, mode="w", zarr_format=3, attributes={"ome": {"version": "0.5", **told}})
    else:
        told["multiscales"][0].setdefault("version", "0.4")
        zarr.open_group(folder, mode="w", zarr_format=2, attributes=told)
    for path, data in zip(paths, levels, strict=True):
        array = zarr.create_array(
            folder / path, shape=data.shape, dtype=data.dtype, chunks=tuple(chunks), zarr_format=version, **options
        )
        array[...] = data
    return folder


def stored(folder: Path, key: str = "slide.zarr") -> MemoryStore:
    """The files of a folder as objects."""
    return MemoryStore(
        {
            f"{key}/{path.relative_to(folder).as_posix()}": path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }
    )


def objects(files: dict[str, Any], key: str = "slide.zarr") -> MemoryStore:
    """Objects of a folder by name; what is not bytes becomes JSON."""
    return MemoryStore(
        {f"{key}/{n}": data if isinstance(data, bytes) else json.dumps(data).encode() for n, data in files.items()}
    )


async def opened(store: Any, key: str = "slide.zarr", **listing: int) -> NgffSlide:
    """The slide at ``key``."""
    slide = await NgffFormat().open(await PinnedFolder.open(store, key, **listing))
    assert isinstance(slide, NgffSlide)
    return slide
