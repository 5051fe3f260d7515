"""CZI files as small as they may be: segments, a directory, subblocks of any compression, pyramids, attachments."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

GRAY8, GRAY16, GRAY_FLOAT, BGR24, BGR48 = 0, 1, 2, 3, 4
UNCOMPRESSED, JPEG, LZW, JPEG_XR, ZSTD0, ZSTD1 = 0, 1, 2, 4, 5, 6
PIXEL_TYPES = {("uint8", 1): GRAY8, ("uint16", 1): GRAY16, ("float32", 1): GRAY_FLOAT, ("uint8", 3): BGR24,
               ("uint16", 3): BGR48}  # fmt: skip


@dataclass
class Block:
    """A subblock: ``array`` (height, width, 1 or 3) as stored, RGB; the place in px of full resolution."""

    array: NDArray[Any]
    x: int
    y: int
    scale: int = 1
    compression: int = UNCOMPRESSED
    planes: Mapping[str, int] = field(default_factory=dict[str, int])
    mosaic: int | None = None
    size: tuple[int, int] | None = None
    payload: bytes | None = None
    pixel_type: int | None = None
    high_low: bool = True


def compressed(block: Block) -> bytes:
    """The stored bytes."""
    if block.payload is not None:
        return block.payload
    array = block.array
    stored = array[..., ::-1] if array.shape[2] == 3 else array[..., 0]  # samples stand as B, G, R
    raw = np.ascontiguousarray(stored).tobytes()
    match block.compression:
        case 0:
            return raw
        case 1:
            return bytes(
                imagecodecs.jpeg8_encode(
                    np.ascontiguousarray(array.squeeze(axis=2) if array.shape[2] == 1 else array), level=98
                )
            )
        case 4:
            picture = np.ascontiguousarray(array if array.shape[2] == 3 else array[..., 0])
            return bytes(imagecodecs.jpegxr_encode(picture, level=1.0))
        case 5:
            return bytes(imagecodecs.zstd_encode(raw))
        case 6 if block.high_low and array.dtype == np.uint16:
            halves = np.frombuffer(raw, np.uint8).reshape(-1, 2).T
            return b"\x03\x01\x01" + bytes(imagecodecs.zstd_encode(np.ascontiguousarray(halves).tobytes()))
        case 6:
            return b"\x01" + bytes(imagecodecs.zstd_encode(raw))
        case other:
            raise ValueError(other)


def segment(name: str, data: bytes) -> bytes:
    """A segment, padded to 32 bytes."""
    padded = data.ljust(-(-len(data) // 32) * 32, b"\0")
    return struct.pack("<16sqq", name.encode(), len(padded), len(data)) + padded


def entry(block: Block, position: int) -> bytes:
    """A directory entry of a subblock (schema DV)."""
    height, width = block.array.shape[:2]
    full = block.size or (width * block.scale, height * block.scale)
    dimensions = [("X", block.x, full[0], width), ("Y", block.y, full[1], height)]
    dimensions += [(name, start, 1, 1) for name, start in {"C": 0, **block.planes}.items()]
    if block.mosaic is not None:
        dimensions.append(("M", block.mosaic, 1, 1))
    pixel_type = block.pixel_type
    if pixel_type is None:
        pixel_type = PIXEL_TYPES[block.array.dtype.name, block.array.shape[2]]
    pyramid = 0 if block.scale == 1 else 2
    head = struct.pack("<2siqiiB5xi", b"DV", pixel_type, position, 0, block.compression, pyramid, len(dimensions))
    return head + b"".join(struct.pack("<4siifi", n.encode(), a, s, float(a), t) for n, a, s, t in dimensions)


def czi(
    blocks: Sequence[Block],
    metadata: str | None = None,
    attachments: Sequence[tuple[str, str, bytes]] = (),
) -> bytes:
    """A file; ``attachments`` are (name, type of content, data)."""
    body = bytearray(32 + 512)
    entries: list[bytes] = []
    for block in blocks:
        position = len(body)
        entries.append(entry(block, position))
        data = compressed(block)
        head = struct.pack("<iiq", 0, 0, len(data)) + entries[-1]
        body += segment("ZISRAWSUBBLOCK", head.ljust(256, b"\0") + data)
    directory = len(body)
    body += segment("ZISRAWDIRECTORY", struct.pack("<i124x", len(entries)) + b"".join(entries))
    metadata_at = 0
    if metadata is not None:
        metadata_at = len(body)
        xml = metadata.encode()
        body += segment("ZISRAWMETADATA", struct.pack("<ii248x", len(xml), 0) + xml)
    attachments_at = 0
    listed: list[bytes] = []
    for name, kind, data in attachments:
        position = len(body)
        listed.append(struct.pack("<2s10xqi16s8s80s", b"A1", position, 0, b"", kind.encode(), name.encode()))
        body += segment("ZISRAWATTACH", struct.pack("<i12x", len(data)) + listed[-1] + bytes(112) + data)
    if listed:
        attachments_at = len(body)
        body += segment("ZISRAWATTDIR", struct.pack("<i252x", len(listed)) + b"".join(listed))
    header = struct.pack("<iiii16s16siqqiq", 1, 0, 0, 0, b"p" * 16, b"p" * 16, 0, directory, metadata_at, 0,
                         attachments_at)  # fmt: skip
    body[: 32 + 512] = segment("ZISRAWFILE", header.ljust(512, b"\0"))
    return bytes(body)


def metadata(
    channels: Sequence[tuple[str, str]] = (), *, spacing_um: float | None = 0.25, magnification: float | None = 20
) -> str:
    """The XML of a file; ``channels`` are (name, colour "#AARRGGBB")."""
    scaling = ""
    if spacing_um is not None:
        scaling = "<Scaling><Items>" + "".join(
            f'<Distance Id="{axis}"><Value>{spacing_um * 1e-6}</Value></Distance>' for axis in "XY"
        ) + "</Items></Scaling>"  # fmt: skip
    listed = "".join(
        f'<Channel Id="Channel:{n}" Name="{name}"><Color>{color}</Color></Channel>'
        for n, (name, color) in enumerate(channels)
    )
    objective = ""
    if magnification is not None:
        objective = (
            '<Instrument><Objectives><Objective Id="Objective:1"><NominalMagnification>'
            f"{magnification}</NominalMagnification></Objective></Objectives></Instrument>"
        )
    return (
        "<ImageDocument><Metadata>"
        f"<Information><Image><Dimensions><Channels>{listed}</Channels></Dimensions></Image>{objective}</Information>"
        f"{scaling}</Metadata></ImageDocument>"
    )
