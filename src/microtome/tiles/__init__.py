"""The heart: tiles, regions, thumbnails and associated images of open slides, whatever API asked."""

from microtome.tiles.answer import ImageAnswer
from microtome.tiles.service import TileService

__all__ = ["ImageAnswer", "TileService"]
