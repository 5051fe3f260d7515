"""Channel styles as a parameter of URLs, and what stands for what the parameter leaves out.

``0:00ff00:100..4000:0.8,2:ff0000``: the visible channels, separated by commas. Each is an index, a colour RRGGBB, a
window low..high in stored values and a gamma; what is empty or left out at the end is the slide's own.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from microtome.errors import InvalidRequest
from microtome.model import Channel, SlideInfo
from microtome.pixels.channels import ChannelStyle, Samples, Window, default_styles, full_window, histogram

STYLES_HELP = (
    "`index:RRGGBB:low..high:gamma`, separated by commas; what is left out is the slide's own"
    " (`0:00ff00:100..4000:0.8,2`)"
)
MOST_CHANNELS = 64
BINS = 256
_NUMBER = r"-?[0-9]{1,20}(?:\.[0-9]{1,20})?(?:e-?[0-9]{1,3})?"
_ONE = (
    rf"(?P<index>[0-9]{{1,4}})(?::(?P<color>[0-9a-fA-F]{{6}})?"
    rf"(?::(?:(?P<low>{_NUMBER})\.\.(?P<high>{_NUMBER}))?(?::(?P<gamma>[0-9]{{1,3}}(?:\.[0-9]{{1,6}})?)?)?)?)?"
)
_STYLE = re.compile(_ONE)
_PLAIN = re.sub(r"\?P<[a-z]+>", "", _ONE)
STYLES_PATTERN = rf"^{_PLAIN}(?:,{_PLAIN}){{0,{MOST_CHANNELS - 1}}}$"
"""The syntax of ``channels``, for schemas; whether channels exist and windows are none is another matter."""
_DARKEST, _BRIGHTEST = 0.005, 0.998
"""Shares of the samples at which a suggested window begins and ends."""


@dataclass(frozen=True, slots=True)
class AskedStyle:
    """What a request says about a channel. ``color`` 0xRRGGBB and ``limits`` of the window are None for the slide's."""

    index: int
    color: int | None = None
    limits: tuple[float, float] | None = None
    gamma: float = 1.0

    def over(self, own: ChannelStyle) -> ChannelStyle:
        """The slide's own style, changed as asked."""
        limits = self.limits or (None if own.window is None else (own.window.low, own.window.high))
        window = None if limits is None else Window(*limits, self.gamma)
        return ChannelStyle(self.index, own.color if self.color is None else self.color, window)


@dataclass(frozen=True, slots=True)
class ChannelLook:
    """What is suggested for a channel, and why: ``histogram`` counts samples in BINS equal parts of ``extent``."""

    style: ChannelStyle
    extent: tuple[float, float]
    histogram: tuple[int, ...]


def parse_styles(text: str) -> tuple[AskedStyle, ...]:
    """What a ``channels`` parameter says. Raises InvalidRequest(parameter="channels") for another syntax."""
    parts = text.split(",")
    if len(parts) > MOST_CHANNELS:
        raise InvalidRequest(f"At most {MOST_CHANNELS} channels are drawn at once", parameter="channels")
    return tuple(_style(part) for part in parts)


def _style(text: str) -> AskedStyle:
    found = _STYLE.fullmatch(text)
    if found is None:
        raise InvalidRequest(
            f"{text[:40]!r} is no channel: write index:RRGGBB:low..high:gamma, such as 0:00ff00:100..4000:0.8",
            parameter="channels",
        )
    color, low, high = found["color"], found["low"], found["high"]
    return AskedStyle(
        int(found["index"]),
        None if color is None else int(color, 16),
        None if low is None else (float(low), float(high)),
        float(found["gamma"] or 1),
    )


def needs_styles(info: SlideInfo) -> bool:
    """Whether a slide must be drawn to be seen: several channels that are no colours, or deep grey ones."""
    names = tuple(channel.name for channel in info.channels)
    if not names or names == ("R", "G", "B"):
        return False
    return len(names) > 1 or np.dtype(info.dtype).itemsize > 1


def looks(array: Samples, channels: Sequence[Channel]) -> tuple[ChannelLook, ...]:
    """How channels look best, judged by samples (height, width, channels) of the whole slide.

    Samples of 8 bits keep their full window.
    """
    return tuple(_look(array[:, :, number], style) for number, style in enumerate(default_styles(channels)))


def _look(plane: Samples, style: ChannelStyle) -> ChannelLook:
    if plane.dtype.itemsize == 1:
        window = full_window(plane.dtype)
        extent = window.low, window.high
    else:
        extent = _extent(plane)
        window = _suggested(plane)
    counts = histogram(plane[:, :, np.newaxis], BINS, Window(*extent))[0]
    return ChannelLook(replace(style, window=window), extent, tuple(int(count) for count in counts))


def _finite(plane: Samples) -> NDArray[np.float64]:
    numbers = plane.astype(np.float64).ravel()
    return numbers[np.isfinite(numbers)]


def _extent(plane: Samples) -> tuple[float, float]:
    numbers = _finite(plane)
    low, high = (float(numbers.min()), float(numbers.max())) if numbers.size else (0.0, 1.0)
    low = min(low, 0.0)
    return low, high if high > low else low + 1


def _suggested(plane: Samples) -> Window:
    numbers = _finite(plane)
    if not numbers.size:
        return Window(0, 1)
    low, high = (float(each) for each in np.quantile(numbers, (_DARKEST, _BRIGHTEST)))
    if plane.dtype.kind == "f":
        low, high = float(f"{low:.6g}"), float(f"{high:.6g}")
    else:
        low, high = math.floor(low), math.ceil(high)
    return Window(low, high if high > low else low + 1)


def resolved(asked: Sequence[AskedStyle], suggested: Sequence[ChannelLook]) -> tuple[ChannelStyle, ...]:
    """The styles with the slide's own colours and windows filled in; all channels when none were asked.

    Raises InvalidRequest(parameter="channels") for a channel that does not exist or is named twice, and for windows
    that are none.
    """
    if not asked:
        return tuple(look.style for look in suggested)
    beyond = next((style.index for style in asked if style.index >= len(suggested)), None)
    if beyond is not None:
        raise InvalidRequest(
            f"Channel {beyond} was asked and there are {len(suggested)}, numbered from 0", parameter="channels"
        )
    if len({style.index for style in asked}) != len(asked):
        raise InvalidRequest("A channel is named twice in channels", parameter="channels")
    try:
        return tuple(style.over(suggested[style.index].style) for style in asked)
    except InvalidRequest as error:
        raise InvalidRequest(error.message, parameter="channels") from error
