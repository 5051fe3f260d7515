"""From what the service gives to what goes out: headers, conditional requests, compression, zip archives."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from collections.abc import Iterable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from microtome.api import compression, conditional
from microtome.api.compression import COMPRESS_FROM
from microtome.api.wsi_v3.context import V3Context
from microtome.errors import InvalidRequest
from microtome.pixels import images
from microtome.tiles.answer import ImageAnswer, key_of
from microtome.tiles.service import is_vector


def image(context: V3Context, request: Request, answer: ImageAnswer, kind: str | None) -> Response:
    """A picture, or the payload of a vector tile; 304 when the client has it. Raises InvalidRequest for a bad match.

    ``kind`` is what the client asked for, None when it did not say.
    """
    tile = answer.image
    if is_vector(tile):
        return payload(context, request, answer, kind)
    if kind is not None and images.KINDS[kind].passthrough:
        raise InvalidRequest(
            f"Failed to read passthrough payload for format '{kind}'. Expected bytes or string payload.",
            parameter="image_format",
        )
    return _conditional(context, request, tile.data, answer.etag, tile.media_type, {})


def payload(context: V3Context, request: Request, answer: ImageAnswer, kind: str | None) -> Response:
    """The bytes of a vector tile under the type asked for, or under their own; as stored when the client takes gzip."""
    tile = answer.image
    if kind is not None and not images.KINDS[kind].passthrough:
        raise InvalidRequest(
            f"This is a vector tile set; it cannot be answered as {kind}. Leave image_format out, or ask for mvt, pbf,"
            " geojson, json or raw",
            parameter="image_format",
        )
    media_type = tile.media_type if kind is None else images.media_type(kind)
    data, suffix = compression.payload(tile, request.headers.get("accept-encoding", ""))
    headers = {"vary": "accept-encoding"} | ({"content-encoding": "gzip"} if suffix else {})
    return _conditional(context, request, data, answer.etag + suffix, media_type, headers)


def document(context: V3Context, request: Request, body: Any, version: str | None = None) -> Response:
    """JSON, compressed when the client takes it; with an ETag."""
    data = json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode("utf-8", "replace")
    etag = key_of(f"{version}\0{data.decode('utf-8', 'replace')}")
    headers = {"vary": "accept-encoding"}
    if len(data) >= COMPRESS_FROM and _gzipped(request):
        data, etag = gzip.compress(data, 6, mtime=0), f"{etag}-gz"
        headers["content-encoding"] = "gzip"
    private = "private" if context.policy.private() else "public"
    return _conditional(context, request, data, etag, "application/json", headers, control=f"{private}, no-cache")


def profile(context: V3Context, request: Request, data: bytes, etag: str) -> Response:
    """An ICC profile, compressed as the original does when the client takes it."""
    headers = {"vary": "accept-encoding"}
    if _gzipped(request):
        data, etag = gzip.compress(data, 6, mtime=0), f"{etag}-gz"
        headers["content-encoding"] = "gzip"
    return _conditional(context, request, data, etag, "application/octet-stream", headers)


def archive(entries: Iterable[tuple[str, bytes]]) -> Response:
    """A zip of stored entries, in their order."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as file:
        for name, data in entries:
            file.writestr(zipfile.ZipInfo(name), data)
    return Response(buffer.getvalue(), media_type="application/zip", headers={"cache-control": "no-store"})


def _gzipped(request: Request) -> bool:
    return compression.accepts_gzip(request.headers.get("accept-encoding", ""))


def _conditional(
    context: V3Context,
    request: Request,
    data: bytes,
    etag: str,
    media_type: str,
    headers: dict[str, str],
    control: str | None = None,
) -> Response:
    quoted = f'"{etag}"'
    headers = {**headers, "etag": quoted, "cache-control": control or context.cache_control()}
    if conditional.matches(conditional.asked(request.scope), quoted.encode()):
        return Response(status_code=304, headers=headers)
    headers["x-content-type-options"] = "nosniff"
    response = Response(data, headers=headers)
    response.headers["content-type"] = media_type
    return response
