"""What the tile service hands to an API family."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b

from microtome.model import EncodedTile, TileIndex
from microtome.pixels.options import RenderOptions


@dataclass(frozen=True, slots=True)
class TileKey:
    """Identity of one rendered tile: the slide's version, which tile, how it is encoded."""

    slide: str
    version: str
    index: TileIndex
    options: RenderOptions

    def digest(self) -> str:
        """32 hexadecimal digits that stand for this key in ETags and shared caches."""
        index, options = self.index, self.options
        text = (
            f"{self.slide}\0{self.version}\0{index.level}.{index.column}.{index.row}.{index.z}.{index.t}\0"
            f"{options.media_type} {options.quality} {options.allow_stored} {options.to_srgb}"
        )
        return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


@dataclass(frozen=True, slots=True)
class ImageAnswer:
    """An encoded image, its strong ETag (without quotes) and whether it came out of the tile cache.

    ``fresh_until`` is the monotonic time in s until which the slide's version counts as checked.
    """

    image: EncodedTile
    etag: str
    cache_hit: bool
    fresh_until: float
