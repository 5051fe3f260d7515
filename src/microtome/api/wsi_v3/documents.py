"""The JSON of the family: views of ``SlideInfo`` and of what the catalogue says. Key order is that of the original."""

from __future__ import annotations

from typing import Any

import numpy as np

from microtome.catalog.base import Case, MappedSlide
from microtome.model import Channel, Size, SlideInfo

UNKNOWN_SPACING_NM = -1.0
"""Vector sets and plain pictures have no size of a pixel."""
_RGB = (("Red", 0xFF0000), ("Green", 0x00FF00), ("Blue", 0x0000FF))
_PALETTE = (0xFF0000, 0x00FF00, 0x0000FF, 0xFF00FF, 0x00FFFF, 0xFFFF00, 0xFFFFFF)
_WORDS = {"Aperio SVS": "aperio", "Generic Pyramidal TIFF": "generic-tiff"}


def slide_info(slide_id: str, info: SlideInfo, *, file_name: str, folder: bool, plugin: str) -> dict[str, Any]:
    """``SlideInfo`` of the wire."""
    planes = info.focal_planes
    spacing = info.spacing_um
    return {
        "id": slide_id,
        "channels": channels(info),
        "channel_depth": 8 * np.dtype(info.dtype).itemsize,
        "extent": extent(info.size, planes),
        "num_levels": len(info.levels),
        "pixel_size_nm": {
            "x": spacing[0] * 1000.0 if spacing else UNKNOWN_SPACING_NM,
            "y": spacing[1] * 1000.0 if spacing else UNKNOWN_SPACING_NM,
            "z": None,
        },
        "tile_extent": extent(info.levels[0].tile_size, 1),
        "levels": [
            {"extent": extent(level.size, planes), "downsample_factor": float(level.downsample)}
            for level in info.levels
        ],
        "format": format_word(info.format_name, file_name, folder=folder, plugin=plugin),
        "raw_download": True,
    }


def extent(size: Size, depth: int) -> dict[str, int]:
    """Width, height and focal planes."""
    return {"x": size.width, "y": size.height, "z": depth}


def channels(info: SlideInfo) -> list[dict[str, Any]]:
    """Channels with the colours of the file, or those of a palette."""
    if is_colour(info.channels):
        return [_channel(number, name, color) for number, (name, color) in enumerate(_RGB)]
    return [
        _channel(
            number,
            channel.name or f"Channel {number}",
            channel.color if channel.color is not None else _PALETTE[number % len(_PALETTE)],
        )
        for number, channel in enumerate(info.channels)
    ]


def is_colour(found: tuple[Channel, ...]) -> bool:
    """Whether the channels are those of a colour picture."""
    return tuple(channel.name for channel in found) == ("R", "G", "B")


def _channel(number: int, name: str, color: int) -> dict[str, Any]:
    parts = {"r": color >> 16 & 255, "g": color >> 8 & 255, "b": color & 255, "a": 0}
    return {"id": number, "name": name, "color": parts}


def format_word(name: str, file_name: str, *, folder: bool, plugin: str) -> str:
    """``{file|folder}-{extension}-{word}-{plugin}`` as the original puts it together, lower case."""
    word = _WORDS.get(name, name).lower().replace(" ", "-")
    if "file" not in word and "folder" not in word:
        suffix = file_name.rpartition(".")[2].lower() if "." in file_name else ""
        word = f"folder-{word}" if folder else f"file-{suffix}-{word}"
    if plugin not in word:
        word = f"{word}{'' if word.endswith('-') else '-'}{plugin}"
    return word


def case(found: Case) -> dict[str, Any]:
    """A case."""
    return {"id": found.id, "local_id": found.local_id, "slides": list(found.slides)}


def slide(found: MappedSlide) -> dict[str, Any]:
    """A slide of a case."""
    return {"id": found.id, "local_id": found.local_id, "slide_storage": storage(found)}


def storage(found: MappedSlide) -> dict[str, Any]:
    """Where a slide is."""
    return {
        "slide_id": found.id,
        "storage_type": "fs",
        "storage_addresses": [
            {
                "address": each.address,
                "slide_id": each.slide_id,
                "main_address": each.main_address,
                "storage_address_id": each.storage_address_id,
            }
            for each in found.addresses
        ],
    }
