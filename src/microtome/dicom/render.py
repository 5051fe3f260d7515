"""A frame as a picture for the eye (PS3.18 §8.3.5, §10.4): grey scale, palette, colours, overlays, viewport, encoding.

A stored baseline JPEG is answered as it is when nothing that is asked changes it. Everything here blocks: call it in a
thread.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from microtome.dicom import decode, overlay, streams, syntaxes
from microtome.dicom.dataset import Dataset
from microtome.dicom.image import ImageFacts
from microtome.dicom.lut import Reader, no_reader, palette, value
from microtome.dicom.presentation import Presentation, draw, presentation
from microtome.dicom.voi import Grayscale, Window, grayscale
from microtome.errors import CorruptData, InvalidRequest, LimitExceeded, NotAcceptable, UnsupportedFormat
from microtome.model import Size
from microtome.pixels import images, jpeg
from microtome.pixels.codecs import ycbcr_to_rgb
from microtome.pixels.color import MAX_PROFILE_BYTES, IccTransform, srgb_profile

Bytes = NDArray[np.uint8]
Profile = Literal["no", "yes", "srgb"]

KINDS: Mapping[str, str] = MappingProxyType(
    {"image/jpeg": "jpeg", "image/png": "png", "image/gif": "gif", "image/webp": "webp"}
)
"""Media types of rendered frames, and what the encoders call them."""

MAX_PICTURE_PIXELS = 64_000_000
_QUALITY = 90
_ICC, _OPTICAL_PATHS = 0x0028_2000, 0x0048_0105
_ICC_CHUNK = 65519
_WHITE = 255


@dataclass(frozen=True, slots=True)
class Viewport:
    """The picture fits into ``width`` x ``height`` px and keeps its proportions.

    ``region`` of the image is shown: left, top, width, height in px; None for all that is left of it. A negative width
    or height mirrors the region (PS3.18 §8.3.5.1.3).
    """

    width: int
    height: int
    region: tuple[float | None, float | None, float | None, float | None] = (None, None, None, None)


@dataclass(frozen=True, slots=True)
class Rendering:
    """What is asked. ``quality`` is 1 to 100 of lossy kinds; None is the server's, and lets stored JPEG pass.

    ``profile``: "yes" embeds the image's own ICC profile, "srgb" converts to sRGB and embeds that one.
    """

    media_type: str = "image/jpeg"
    window: Window | None = None
    viewport: Viewport | None = None
    quality: int | None = None
    profile: Profile = "no"


_PLAIN = Rendering()


@dataclass(frozen=True, slots=True, eq=False)
class StoredFrame:
    """A frame as it lies in its instance. ``data`` and ``bit`` as for ``decode.decode``; ``number`` counts from 0.

    ``read`` fetches values that were too large to be read with the data set, such as tables and profiles.
    """

    data: bytes
    dataset: Dataset
    facts: ImageFacts
    transfer_syntax: str
    number: int = 0
    bit: int = 0
    read: Reader = no_reader


def render(frame: StoredFrame, rendering: Rendering = _PLAIN, state: Dataset | None = None) -> bytes:
    """The encoded picture of a frame, as the presentation state shows it if there is one.

    Raises NotAcceptable, InvalidRequest, LimitExceeded, UnsupportedFormat, CorruptData.
    """
    if rendering.media_type not in KINDS:
        raise NotAcceptable(f"Frames cannot be rendered as {rendering.media_type}", available=tuple(KINDS))
    facts = frame.facts
    gray = grayscale(frame.dataset, facts, frame.read, frame.number) if facts.monochrome else None
    shown: Presentation | None = None
    if state is not None:
        shown = presentation(state, frame.dataset, facts, gray or Grayscale(), frame.read, frame.number)
        gray = shown.grayscale if gray is not None else None
    if shown is None and (stored := _untouched(frame, rendering, gray)) is not None:
        return stored
    picture = _picture(frame, None if gray is None else gray.windowed(rendering.window))
    picture = _covered(picture, frame, shown)
    picture = _viewed(picture, rendering.viewport, shown)
    picture, profile = _colored(picture, frame, rendering)
    quality = _QUALITY if rendering.quality is None else rendering.quality
    kind = KINDS[rendering.media_type]
    encoded = images.encode(picture, kind, quality, profile=profile if kind == "png" else None)
    return with_profile(encoded, profile) if kind == "jpeg" and profile else encoded


def pixels(frame: StoredFrame, rendering: Rendering = _PLAIN) -> Bytes:
    """The picture of a frame before it is encoded, (rows, columns, 1 or 3), without viewport and presentation state."""
    gray = None
    if frame.facts.monochrome:
        gray = grayscale(frame.dataset, frame.facts, frame.read, frame.number).windowed(rendering.window)
    return _covered(_picture(frame, gray), frame, None)


# From samples to a picture


def _untouched(frame: StoredFrame, rendering: Rendering, gray: Grayscale | None) -> bytes | None:
    """The stored stream, when it is baseline JPEG and already what is asked."""
    facts, viewport = frame.facts, rendering.viewport
    if (
        frame.transfer_syntax != syntaxes.JPEG_BASELINE
        or rendering.media_type != "image/jpeg"
        or rendering.quality is not None
        or rendering.profile != "no"
        or (viewport is not None and viewport != Viewport(facts.columns, facts.rows))
        or overlay.groups(frame.dataset)
        or (gray is not None and not gray.windowed(rendering.window).is_identity(facts))
        or facts.photometric == "PALETTE COLOR"
    ):
        return None
    stream = streams.jpeg(frame.data)
    same = (stream.rows, stream.columns, stream.components) == (facts.rows, facts.columns, facts.samples)
    if stream.process != 0xC0 or stream.precision != 8 or not same or facts.samples == 4:
        return None
    space = decode.stream_color(stream, facts.photometric)
    return jpeg.complete(None, frame.data, color="gray" if facts.samples == 1 else "rgb" if space == "RGB" else "ycbcr")


def _picture(frame: StoredFrame, gray: Grayscale | None) -> Bytes:
    facts = frame.facts
    decoded = decode.decode(frame.data, facts, frame.transfer_syntax, bit=frame.bit, rgb=True)
    if gray is not None:
        return gray.apply(decoded.array, facts)
    if facts.samples == 1:
        table = palette(frame.dataset, facts, frame.read)
        if table is None:
            raise CorruptData("An image of palette colours has no palette")
        return table.apply(decoded.array)
    if facts.samples != 3 or facts.kind == "float" or facts.signed:
        raise UnsupportedFormat(f"{decoded.photometric} pixels cannot be rendered", feature=decoded.photometric)
    array = decoded.array
    if array.dtype != np.uint8 or facts.stored < 8:
        full = (1 << facts.stored) - 1
        array = np.rint(np.clip(array.astype(np.float64) / full, 0, 1) * _WHITE).astype(np.uint8)
    colors = cast("Bytes", array)
    return ycbcr_to_rgb(colors) if decoded.photometric.startswith("YBR") else colors


def _covered(picture: Bytes, frame: StoredFrame, shown: Presentation | None) -> Bytes:
    """With overlays in white, and what a shutter hides."""
    facts = frame.facts
    wanted = overlay.groups(frame.dataset) if shown is None else shown.overlays
    masks = [
        overlay.overlay(frame.dataset, group, facts, frame.number, frame.read, _all_bits(frame)) for group in wanted
    ]
    if shown is not None and shown.state is not None:
        own = shown.state
        masks += [overlay.overlay(own, group, facts, 0, frame.read, None) for group in overlay.groups(own)]
    for mask in masks:
        if mask is not None:
            picture = np.where(mask[:, :, np.newaxis], np.uint8(_WHITE), picture)
    if shown is not None and shown.shutter is not None:
        picture = np.where(shown.shutter[:, :, np.newaxis], np.uint8(shown.shutter_value), picture)
    return picture


def _all_bits(frame: StoredFrame) -> NDArray[np.unsignedinteger] | None:
    facts, syntax = frame.facts, syntaxes.find(frame.transfer_syntax)
    if syntax.encapsulated or facts.samples != 1 or facts.allocated not in {8, 16} or facts.stored == facts.allocated:
        return None
    data = decode.native_bytes(frame.data, facts, big_endian=syntax.big_endian, bit=frame.bit)
    return np.frombuffer(data, f"<u{facts.allocated // 8}").reshape(facts.rows, facts.columns)


# Viewport


def _viewed(picture: Bytes, viewport: Viewport | None, shown: Presentation | None) -> Bytes:
    """Cropped, turned and scaled, with the graphics of a presentation state on top."""
    if shown is not None:
        left, top, right, bottom = shown.area
        picture = np.rot90(picture[top:bottom, left:right], -shown.turns)
        if shown.flipped:
            picture = picture[:, ::-1]
        picture = np.ascontiguousarray(picture)
    if viewport is not None:
        picture = fitted(picture, viewport)
    return picture if shown is None else draw(picture, shown)


def fitted(picture: Bytes, viewport: Viewport) -> Bytes:
    """The viewport's region of a picture, as large as it may be. Raises InvalidRequest, LimitExceeded."""
    height, width, channels = picture.shape
    left, top, right, bottom, mirrored, upside_down = _region(viewport, width, height)
    scale = min(viewport.width / (right - left), viewport.height / (bottom - top))
    size = Size(max(1, round((right - left) * scale)), max(1, round((bottom - top) * scale)))
    if size.width * size.height > MAX_PICTURE_PIXELS:
        raise LimitExceeded(
            f"A picture of {size.width} x {size.height} px is larger than {MAX_PICTURE_PIXELS} px",
            limit="picture pixels",
            value=size.width * size.height,
        )
    if (left, top, right, bottom) != (0, 0, width, height) or size != (width, height):
        image = Image.fromarray(picture[:, :, 0] if channels == 1 else picture)
        enlarged = Image.Resampling.BICUBIC if scale > 1 else Image.Resampling.LANCZOS
        scaled = np.asarray(image.resize(size, enlarged, box=(left, top, right, bottom), reducing_gap=3.0))
        picture = scaled[:, :, np.newaxis] if channels == 1 else scaled
    if mirrored:
        picture = picture[:, ::-1]
    if upside_down:
        picture = picture[::-1]
    return np.ascontiguousarray(picture)


def _region(viewport: Viewport, width: int, height: int) -> tuple[float, float, float, float, bool, bool]:
    """Left, top, right and bottom within the picture, and whether it is mirrored in either direction."""
    left, top, across, down = viewport.region
    left, top = left or 0.0, top or 0.0
    across = width - left if across is None else across
    down = height - top if down is None else down
    right, bottom = min(left + abs(across), width), min(top + abs(down), height)
    inside = 0 <= left < width and 0 <= top < height and right - left > 0.01 and bottom - top > 0.01
    if viewport.width < 1 or viewport.height < 1 or not inside:
        raise InvalidRequest(
            f"The viewport shows no part of the {width} x {height} px of the image", parameter="viewport"
        )
    return left, top, right, bottom, across < 0, down < 0


# Colour


def _colored(picture: Bytes, frame: StoredFrame, rendering: Rendering) -> tuple[Bytes, bytes | None]:
    """The picture in the colour space that is asked, and the profile to embed."""
    if rendering.profile == "no" or picture.shape[2] != 3:
        return picture, None
    own = icc_profile(frame)
    embeds = rendering.media_type in {"image/jpeg", "image/png"}
    if own is None or (rendering.profile == "yes" and embeds):
        return picture, own or srgb_profile()
    return _transform(own).apply(picture), srgb_profile()


def icc_profile(frame: StoredFrame) -> bytes | None:
    """The ICC profile of the image or of its first optical path. Raises CorruptData when it is too large."""
    for holder in (frame.dataset, *frame.dataset.items(_OPTICAL_PATHS)[:1]):
        if found := value(holder, _ICC, frame.read, MAX_PROFILE_BYTES):
            return found
    return None


@functools.lru_cache(maxsize=2)
def _transform(profile: bytes) -> IccTransform:
    return IccTransform.to_srgb(profile)


def with_profile(data: bytes, profile: bytes) -> bytes:
    """A JPEG stream with an ICC profile in APP2 segments (ICC.1 §B.4), behind its JFIF header."""
    at = 2
    if data[2:4] == b"\xff\xe0":
        at += 2 + int.from_bytes(data[4:6], "big")
    chunks = [profile[begin : begin + _ICC_CHUNK] for begin in range(0, len(profile), _ICC_CHUNK)]
    if len(chunks) > 255:
        raise UnsupportedFormat("The ICC profile is too large for a JPEG file", feature="ICC profile size")
    segments = b"".join(
        b"\xff\xe2" + (16 + len(chunk)).to_bytes(2, "big") + b"ICC_PROFILE\0" + bytes([n, len(chunks)]) + chunk
        for n, chunk in enumerate(chunks, 1)
    )
    return data[:at] + segments + data[at:]
