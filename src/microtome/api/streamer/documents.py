"""JSON of the family that is more than a line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from microtome.model import SlideInfo
from microtome.pixels.channels import WHITE
from microtome.pixels.styles import ChannelLook


def channels(info: SlideInfo, looks: Sequence[ChannelLook]) -> dict[str, Any]:
    """Colour slides have no channels to choose. Windows and ranges are in stored values."""
    colour = tuple(channel.name for channel in info.channels) == ("R", "G", "B")
    return {"dtype": info.dtype, "channels": [] if colour else [_channel(info, look) for look in looks]}


def _channel(info: SlideInfo, look: ChannelLook) -> dict[str, Any]:
    style, window = look.style, look.style.window
    return {
        "index": style.index,
        "name": info.channels[style.index].name,
        "color": f"{WHITE if style.color is None else style.color:06x}",
        "window": list(look.extent) if window is None else [window.low, window.high],
        "range": list(look.extent),
        "visible": style.visible,
        "histogram": list(look.histogram),
    }
