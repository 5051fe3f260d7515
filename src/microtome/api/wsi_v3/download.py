"""``/v3/slides/download``: the files of a slide as they are, in a stored zip whose length is known before it begins."""

from __future__ import annotations

import re
import struct
import time
import zlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from microtome.api.wsi_v3 import openapi
from microtome.api.wsi_v3.context import V3Context
from microtome.api.wsi_v3.parameters import Plugin, Principal, SlideId
from microtome.errors import NotFound
from microtome.storage.base import ObjectInfo, Store
from microtome.storage.folder import PinnedFolder

PIECE = 4 << 20
_LARGE = 0xFFFFFFFF
_ZIP64 = 45
_UNQUOTABLE = re.compile(r'[^\x20-\x7e]|["\\]')
_FLAGS = 0x0808
"""Bit 3: sizes and checksum stand behind the data. Bit 11: names are UTF-8 (APPNOTE 4.4.4)."""


@dataclass(frozen=True, slots=True)
class _Entry:
    name: bytes
    info: ObjectInfo

    @property
    def nbytes(self) -> int:
        """Local header with its ZIP64 field, data, data descriptor."""
        return 30 + len(self.name) + 20 + self.info.size + 24


def router(context: V3Context) -> APIRouter:
    """The route."""
    routes = APIRouter(prefix="/slides", tags=["slides"])

    @routes.get(
        "/download",
        **openapi.operation(
            "The files of a slide in a zip archive", openapi.DOWNLOAD, "Not compressed; its length is told beforehand."
        ),
    )
    async def download(request: Request, who: Principal, slide_id: SlideId, plugin: Plugin = None) -> Response:
        _, mapped = await context.slide(who, slide_id)
        keys = [each.address for each in mapped.addresses] or [mapped.key]
        entries = await _entries(context.store, keys)
        name = slide_id.strip("/").rsplit("/", 1)[-1] or "slide"
        return StreamingResponse(
            _archive(context.store, entries),
            media_type="application/zip",
            headers={
                "content-length": str(_length(entries)),
                "content-disposition": disposition(f"{name}.zip"),
                "cache-control": "no-store",
            },
        )

    return routes


def disposition(name: str) -> str:
    """``Content-Disposition: attachment`` with a name of any letters (RFC 6266 §4.3)."""
    plain = _UNQUOTABLE.sub("_", name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


async def _entries(store: Store, keys: Sequence[str]) -> list[_Entry]:
    found: dict[str, ObjectInfo] = {}
    for key in keys:
        try:
            info = await store.head(key)
            found[info.key] = info
        except NotFound:
            folder = await PinnedFolder.open(store, key)
            found |= {info.key: info for info in folder.entries.values()}
    parents = [key.split("/")[:-1] for key in found]
    shared = 0
    while parents and all(len(each) > shared and each[shared] == parents[0][shared] for each in parents):
        shared += 1
    return [_Entry("/".join(key.split("/")[shared:]).encode(), info) for key, info in sorted(found.items())]


def _length(entries: Sequence[_Entry]) -> int:
    return sum(entry.nbytes for entry in entries) + sum(46 + len(entry.name) + 28 for entry in entries) + 56 + 20 + 22


async def _archive(store: Store, entries: Sequence[_Entry]) -> AsyncIterator[bytes]:
    """APPNOTE.TXT 6.3.10, ZIP64 throughout, so that lengths do not depend on sizes. The files are pinned: one that
    changes meanwhile ends the answer short of its announced length.
    """
    now = time.gmtime()
    stamp = (
        now.tm_hour << 11 | now.tm_min << 5 | now.tm_sec // 2,
        (now.tm_year - 1980) << 9 | now.tm_mon << 5 | now.tm_mday,
    )
    central: list[bytes] = []
    offset = 0
    for entry in entries:
        size = entry.info.size
        # The field is there to say that the descriptor has eight bytes for each size (APPNOTE 4.3.9.2).
        extra = struct.pack("<HHQQ", 1, 16, 0, 0)
        yield (
            struct.pack(
                "<4s5H3L2H", b"PK\3\4", _ZIP64, _FLAGS, 0, *stamp, 0, _LARGE, _LARGE, len(entry.name), len(extra)
            )
            + entry.name
            + extra
        )
        checksum = 0
        for start in range(0, size, PIECE):
            result = await store.get_range(entry.info.key, start, min(start + PIECE, size), etag=entry.info.etag)
            checksum = zlib.crc32(result.data, checksum)
            yield result.data
        yield struct.pack("<4sLQQ", b"PK\7\10", checksum, size, size)
        field = struct.pack("<HHQQQ", 1, 24, size, size, offset)
        central.append(
            struct.pack("<4s6H3L5H2L", b"PK\1\2", _ZIP64, _ZIP64, _FLAGS, 0, *stamp, checksum, _LARGE, _LARGE,
                        len(entry.name), len(field), 0, 0, 0, 0, _LARGE)
            + entry.name + field
        )  # fmt: skip
        offset += entry.nbytes
    directory = b"".join(central)
    count = len(entries)
    yield directory
    yield struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, _ZIP64, _ZIP64, 0, 0, count, count, len(directory), offset)
    yield struct.pack("<4sLQL", b"PK\6\7", 0, offset + len(directory), 1)
    yield struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, min(count, 0xFFFF), min(count, 0xFFFF), _LARGE, _LARGE, 0)
