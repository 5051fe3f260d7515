"""The headers of an image answer: one function for the ordinary and the express way, so that they cannot differ."""

from __future__ import annotations

from microtome.api.streamer.context import Headers, StreamerContext
from microtome.auth.base import Grant
from microtome.tiles.answer import ImageAnswer


def quoted(etag: str) -> bytes:
    """An ETag as it stands in a header."""
    return b'"%s"' % etag.encode("latin-1", "replace")


def image_headers(context: StreamerContext, answer: ImageAnswer, quality: int, grant: Grant) -> Headers:
    """Headers of a 200, in the order that clients know; CORS comes behind them."""
    image = answer.image
    return [
        (b"content-type", image.media_type.encode()),
        (b"cache-control", context.cache_control(grant)),
        (b"x-tile-cache-hit", b"true" if answer.cache_hit else b"false"),
        (b"x-tile-quality", b"%d" % quality),
        (b"etag", quoted(answer.etag)),
        (b"x-content-type-options", b"nosniff"),
        (b"content-length", b"%d" % len(image.data)),
    ]


def not_modified_headers(context: StreamerContext, etag: bytes, grant: Grant) -> Headers:
    """Headers of a 304 (RFC 9110 §15.4.5)."""
    return [(b"cache-control", context.cache_control(grant)), (b"etag", etag)]
