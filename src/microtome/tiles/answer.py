"""What the tile service hands to an API family."""

from __future__ import annotations

from hashlib import blake2b
from typing import NamedTuple

from microtome.model import EncodedTile, TileIndex
from microtome.pixels.options import RenderOptions


def tile_key(slide: str, version: str, index: TileIndex, options: RenderOptions) -> str:
    """32 hexadecimal digits that stand for one rendered tile in ETags and shared caches.

    Made of the slide and its version, which tile it is, and how it is encoded.
    """
    styles = "".join(f" {style}" for style in options.styles)
    text = (
        f"{slide}\0{version}\0{index.level}.{index.column}.{index.row}.{index.z}.{index.t}\0"
        f"{options.media_type} {options.quality} {options.allow_stored} {options.intent}{styles}"
    )
    return key_of(text)


def key_of(text: str) -> str:
    """32 hexadecimal digits that stand for whatever ``text`` describes completely."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


class ImageAnswer(NamedTuple):
    """An encoded image, its strong ETag (without quotes) and whether it came out of the tile cache.

    ``fresh_until`` is the monotonic time in s until which the slide's version counts as checked.
    """

    image: EncodedTile
    etag: str
    cache_hit: bool
    fresh_until: float
