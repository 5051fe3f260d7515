"""What passes between the server and a child that reads slides: JSON and bytes, nothing that could run.

A child may have been taken over by the file it reads, so the server takes from it only what it can check.
"""

from __future__ import annotations

import asyncio
import base64
import json
import struct
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

import numpy as np

from microtome.formats.base import FormatOptions
from microtome.model import AssociatedImage, Channel, EncodedTile, Level, Raster, Size, SlideInfo
from microtome.storage.base import ObjectInfo

MAX_WORDS = 64 << 20
MAX_PAYLOAD = 1 << 30
_FRAME = struct.Struct(">II")
Message = dict[str, Any]


class Line:
    """One end of the connection. Messages go out whole, in the order of the calls."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, message: Message, payload: bytes | memoryview = b"") -> None:
        """Raises ConnectionError when the other end has gone."""
        words = json.dumps(message).encode()
        self._writer.write(_FRAME.pack(len(words), len(payload)) + words)
        self._writer.write(payload)
        await self._writer.drain()

    async def receive(self) -> tuple[Message, bytes]:
        """The next message. Raises ConnectionError, IncompleteReadError at the end, ValueError for nonsense."""
        words, length = _FRAME.unpack(await self._reader.readexactly(_FRAME.size))
        if words > MAX_WORDS or length > MAX_PAYLOAD:
            raise ValueError("a message is too long")
        message: object = json.loads(await self._reader.readexactly(words))
        if not isinstance(message, dict):
            raise ValueError("a message is no object")
        return cast("Message", message), await self._reader.readexactly(length)

    def close(self) -> None:
        """Hang up."""
        self._writer.close()


def from_options(options: FormatOptions) -> Message:
    """What the settings say, for a child."""
    return {"cache_dir": None if options.cache_dir is None else str(options.cache_dir)}


def to_options(message: Message) -> FormatOptions:
    """See ``from_options``."""
    folder = message["cache_dir"]
    return FormatOptions(cache_dir=None if folder is None else Path(folder))


def from_info(info: SlideInfo) -> Message:
    """The facts of a slide as a message."""
    return {
        "format_name": info.format_name,
        "levels": [[*level.size, *level.tile_size, level.downsample] for level in info.levels],
        "channels": [[channel.name, channel.color] for channel in info.channels],
        "dtype": info.dtype,
        "spacing_um": info.spacing_um,
        "magnification": info.magnification,
        "focal_planes": info.focal_planes,
        "time_points": info.time_points,
        "icc_profile": None if info.icc_profile is None else base64.b64encode(info.icc_profile).decode(),
        "associated": [[image.name, *image.size] for image in info.associated],
        "vendor": info.vendor,
        "properties": dict(info.properties),
    }


def to_info(message: Message) -> SlideInfo:
    """The facts in a message. Raises ValueError, TypeError, KeyError for nonsense."""
    profile, spacing = message["icc_profile"], message["spacing_um"]
    properties = cast("Mapping[str, object]", message["properties"])
    return SlideInfo(
        format_name=str(message["format_name"]),
        levels=tuple(
            Level(Size(int(w), int(h)), Size(int(tw), int(th)), float(d)) for w, h, tw, th, d in message["levels"]
        ),
        channels=tuple(
            Channel(str(name), None if color is None else int(color)) for name, color in message["channels"]
        ),
        dtype=_dtype(str(message["dtype"])).name,
        spacing_um=None if spacing is None else (float(spacing[0]), float(spacing[1])),
        magnification=None if message["magnification"] is None else float(message["magnification"]),
        focal_planes=int(message["focal_planes"]),
        time_points=int(message["time_points"]),
        icc_profile=None if profile is None else base64.b64decode(profile),
        associated=tuple(AssociatedImage(str(name), Size(int(w), int(h))) for name, w, h in message["associated"]),
        vendor=None if message["vendor"] is None else str(message["vendor"]),
        properties=MappingProxyType({str(name): str(value) for name, value in properties.items()}),
    )


def from_tile(tile: EncodedTile | Raster) -> tuple[Message, bytes]:
    """A tile as a message and bytes."""
    if isinstance(tile, EncodedTile):
        facts = {"media_type": tile.media_type, "size": tile.size, "color": tile.color, "encoding": tile.encoding}
        return facts, tile.data
    array = np.ascontiguousarray(tile.array)
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    return {"shape": array.shape, "dtype": array.dtype.name, "channels": tile.channels}, little.tobytes()


def to_tile(message: Message, payload: bytes) -> EncodedTile | Raster:
    """The tile in a message. Raises ValueError, TypeError, KeyError for nonsense."""
    if "media_type" in message:
        color, encoding = message["color"], message["encoding"]
        if color not in {"gray", "rgb", "ycbcr", "other"} or encoding not in {None, "gzip"}:
            raise ValueError("a tile is of no known kind")
        width, height = message["size"]
        return EncodedTile(payload, str(message["media_type"]), Size(int(width), int(height)), color, encoding)
    height, width, count = (int(each) for each in message["shape"])
    if min(height, width, count) < 1:
        raise ValueError("a tile has no pixels")
    dtype = _dtype(str(message["dtype"]))
    array = np.frombuffer(payload, dtype.newbyteorder("<")).reshape(height, width, count)
    return Raster(array.astype(dtype, copy=False), tuple(str(name) for name in message["channels"]))


def from_object(info: ObjectInfo) -> list[Any]:
    """What a store says of an object."""
    return [info.key, info.size, info.etag, info.modified]


def to_object(values: list[Any]) -> ObjectInfo:
    """See ``from_object``."""
    return ObjectInfo(*values)


def _dtype(name: str) -> np.dtype[Any]:
    dtype = np.dtype(name)
    if dtype.kind not in "buif":
        raise ValueError("samples are of no known kind")
    return dtype
