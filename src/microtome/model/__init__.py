"""Frozen facts about slides: geometry, slide, tile. numpy only, no input or output."""

from microtome.model.geometry import Level, Rectangle, Size, TileIndex, of_level
from microtome.model.slide import AssociatedImage, Channel, SlideInfo, SlideRecord
from microtome.model.tile import ColorSpace, EncodedTile, Raster

__all__ = [
    "AssociatedImage",
    "Channel",
    "ColorSpace",
    "EncodedTile",
    "Level",
    "Raster",
    "Rectangle",
    "Size",
    "SlideInfo",
    "SlideRecord",
    "TileIndex",
    "of_level",
]
