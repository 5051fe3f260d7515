"""Query parameters of the family, grouped as the routes use them. FastAPI checks types and ranges (422)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any

from fastapi import Depends, Path, Query
from starlette.requests import Request

from microtome.errors import InvalidRequest
from microtome.pixels import images
from microtome.pixels.color import Intent
from microtome.pixels.picture import PictureOptions
from microtome.pixels.styles import STYLES_HELP, AskedStyle, parse_styles


async def principal(request: Request) -> Any:
    """Who asks. Raises Unauthenticated, Forbidden."""
    return await request.app.state.context.policy.authenticate(request)


Principal = Annotated[Any, Depends(principal)]


class IccIntent(StrEnum):
    """Rendering intents of ICC.1:2022 §6.1.11."""

    perceptual = "perceptual"
    relative_colorimetric = "relative_colorimetric"
    saturation = "saturation"
    absolute_colorimetric = "absolute_colorimetric"


_INTENTS: dict[IccIntent, Intent] = {
    IccIntent.perceptual: "perceptual",
    IccIntent.relative_colorimetric: "relative",
    IccIntent.saturation: "saturation",
    IccIntent.absolute_colorimetric: "absolute",
}
SlideId = Annotated[str, Query(description="Id of the slide, as the catalogue gives it")]
Plugin = Annotated[str | None, Query(description="Name of the format that is to read the slide")]
Level = Annotated[int, Path(ge=0, description="Level of the pyramid, 0 is full resolution")]
Side = Annotated[int, Path(ge=1, le=20_000, description="Largest width or height in px")]
Quality = Annotated[int | None, Query(ge=0, le=100, description="Quality of jpeg, webp and avif (default 90)")]
DEFAULT_QUALITY = 90
STORED_QUALITY = 80
"""A client that asks for less than this wants fewer bytes than are stored."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """``image_format`` and ``image_quality``; the format None when the client did not say.

    ``known``: there is such a format. Others are refused when all parameters have been read: those that cannot be read
    count first.
    """

    kind: str | None
    quality: int
    allow_stored: bool
    known: bool = True


async def encoding(
    image_format: Annotated[
        str | None,
        Query(
            description=f"One of {', '.join(images.KINDS)}; without it pictures are jpeg, vector tiles what they are",
            json_schema_extra={"enum": [*images.ALIASES]},
        ),
    ] = None,
    image_quality: Quality = None,
) -> Encoding:
    """Read it."""
    kind = None if image_format is None else images.ALIASES.get(image_format)
    quality = DEFAULT_QUALITY if image_quality is None else image_quality
    known = image_format is None or kind is not None
    return Encoding(kind, quality, allow_stored=quality >= STORED_QUALITY, known=known)


@dataclass(frozen=True, slots=True)
class Colour:
    """``icc_profile_intent`` and ``icc_profile_strict``."""

    intent: Intent | None
    strict: bool


async def colour(
    icc_profile_intent: Annotated[IccIntent | None, Query(description="Convert to sRGB with this intent")] = None,
    icc_profile_strict: Annotated[bool, Query(description="With an intent: 412 for a slide without profile")] = False,  # noqa: FBT002
) -> Colour:
    """Read it."""
    return Colour(None if icc_profile_intent is None else _INTENTS[icc_profile_intent], icc_profile_strict)


@dataclass(frozen=True, slots=True)
class View:
    """Which plane and which channels, and what is painted beside the slide."""

    channels: tuple[int, ...] | None
    styles: tuple[AskedStyle, ...]
    z: int
    t: int
    padding: tuple[int, int, int] | None


async def view(
    image_channels: Annotated[list[int] | None, Query(description="Channels, repeated, in this order")] = None,
    channels: Annotated[str | None, Query(description=f"Draw channels: {STYLES_HELP}")] = None,
    z: Annotated[int, Query(ge=0, description="Focal plane")] = 0,
    t: Annotated[int, Query(ge=0, description="Time point")] = 0,
    padding_color: Annotated[str | None, Query(description="#RRGGBB, painted outside of the slide")] = None,
) -> View:
    """Read it; a padding colour that makes no sense is the default one. Raises InvalidRequest(parameter="channels")."""
    asked = None if not image_channels else tuple(image_channels)
    styles = parse_styles(channels) if channels else ()
    return View(asked, styles, z, t, images.padding_color(padding_color) if padding_color else None)


EncodingOf = Annotated[Encoding, Depends(encoding)]
ColourOf = Annotated[Colour, Depends(colour)]
ViewOf = Annotated[View, Depends(view)]


def options(
    encoding: Encoding,
    colour: Colour | None = None,
    view: View | None = None,
    *,
    padding: tuple[int, int, int],
    pad: bool = False,
) -> PictureOptions:
    """What the service is asked. Raises InvalidRequest(parameter="image_format")."""
    if not encoding.known:
        raise InvalidRequest("Provided image format parameter not supported", parameter="image_format")
    return PictureOptions(
        kind="jpeg" if encoding.kind is None or images.KINDS[encoding.kind].passthrough else encoding.kind,
        quality=encoding.quality,
        channels=view.channels if view else None,
        styles=view.styles if view else (),
        intent=colour.intent if colour else None,
        strict=colour.strict if colour else False,
        padding=(view.padding if view else None) or padding,
        pad=pad,
        allow_stored=encoding.allow_stored,
    )
