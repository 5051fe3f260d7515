"""The query parameters of rendered resources (PS3.18 §8.3.5.1) as what the renderer is asked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import cast

from microtome.dicom.render import Profile, Rendering, Viewport
from microtome.dicom.voi import Function, Window
from microtome.errors import InvalidRequest, NotAcceptable

_FUNCTIONS: Mapping[str, Function] = {"linear": "LINEAR", "linear-exact": "LINEAR_EXACT", "sigmoid": "SIGMOID"}
_PROFILES = frozenset({"no", "yes", "srgb"})
_UNKNOWN_PROFILES = frozenset({"adobergb", "rommrgb", "displayp3"})
_ANNOTATIONS = frozenset({"patient", "technique"})
_NUMBER = re.compile(r"[+-]?([0-9]{1,12}(\.[0-9]{0,12})?|\.[0-9]{1,12})([eE][+-]?[0-9]{1,2})?")
_LARGEST_SIDE = 65500


def rendering(query: Mapping[str, str], media_type: str) -> Rendering:
    """``window``, ``viewport``, ``quality``, ``iccprofile`` and ``annotation`` of a decoded query.

    Annotations are checked, and nothing is written into the picture for them. Raises InvalidRequest for what cannot be
    read, NotAcceptable for a colour space there is no profile of.
    """
    _annotation(query.get("annotation"))
    return Rendering(
        media_type,
        _window(query.get("window")),
        viewport(query.get("viewport")),
        _quality(query.get("quality")),
        _profile(query.get("iccprofile")),
    )


def _window(text: str | None) -> Window | None:
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if len(parts) not in {2, 3} or (len(parts) == 3 and parts[2].lower() not in _FUNCTIONS):
        raise InvalidRequest(
            "window is centre,width[,linear|linear-exact|sigmoid], as in window=40,400,linear", parameter="window"
        )
    function = _FUNCTIONS[parts[2].lower()] if len(parts) == 3 else "LINEAR"
    return Window(_number(parts[0], "window"), _number(parts[1], "window"), function)


def viewport(text: str | None) -> Viewport | None:
    """``width,height`` or ``width,height,left,top,region width,region height``; of the last four any may be empty."""
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if len(parts) not in {2, 6}:
        raise InvalidRequest("viewport has two or six numbers, as in viewport=512,512", parameter="viewport")
    width, height = (_whole(part, "viewport", _LARGEST_SIDE) for part in parts[:2])
    left, top, across, down = (None if not part else _number(part, "viewport") for part in (*parts[2:], *[""] * 4)[:4])
    if (left or 0) < 0 or (top or 0) < 0 or across == 0 or down == 0:
        raise InvalidRequest("The region of a viewport begins in the image and is not empty", parameter="viewport")
    return Viewport(width, height, (left, top, across, down))


def _quality(text: str | None) -> int | None:
    return None if text is None else _whole(text, "quality", 100)


def _profile(text: str | None) -> Profile:
    name = "no" if text is None else text.strip().lower()
    if name in _UNKNOWN_PROFILES:
        raise NotAcceptable(f"Pictures cannot be converted to {name}: ask for srgb, yes or no")
    if name not in _PROFILES:
        raise InvalidRequest("iccprofile is one of no, yes, srgb", parameter="iccprofile")
    return cast("Profile", name)


def _annotation(text: str | None) -> None:
    if text is not None and not {part.strip().lower() for part in text.split(",")} <= _ANNOTATIONS:
        raise InvalidRequest("annotation is patient, technique or both", parameter="annotation")


def _number(text: str, parameter: str) -> float:
    if not _NUMBER.fullmatch(text):
        raise InvalidRequest(f"{parameter} holds something that is no number", parameter=parameter)
    return float(text)


def _whole(text: str, parameter: str, most: int) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text.strip()) or not 1 <= int(text) <= most:
        raise InvalidRequest(f"{parameter} is a whole number from 1 to {most}", parameter=parameter)
    return int(text)
