"""ICC profiles (ICC.1:2022) to sRGB, through LittleCMS."""

from __future__ import annotations

import functools
import io
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from microtome.errors import CorruptData, LimitExceeded, UnsupportedFormat
from microtome.pixels.bands import bands

Intent = Literal[
    "perceptual", "relative_colorimetric", "saturation", "absolute_colorimetric",
    "relative", "absolute",
]  # fmt: skip
"""The rendering intents of ICC.1:2022 §6.2; the last two are short for the second and the fourth."""

MAX_PROFILE_BYTES = 16 << 20
_INTENTS = {
    "perceptual": ImageCms.Intent.PERCEPTUAL,
    "relative_colorimetric": ImageCms.Intent.RELATIVE_COLORIMETRIC,
    "saturation": ImageCms.Intent.SATURATION,
    "absolute_colorimetric": ImageCms.Intent.ABSOLUTE_COLORIMETRIC,
    "relative": ImageCms.Intent.RELATIVE_COLORIMETRIC,
    "absolute": ImageCms.Intent.ABSOLUTE_COLORIMETRIC,
}
_NO_COLOR_SPACE = {b"link": "a device link", b"abst": "an abstract profile", b"nmcl": "a list of named colours"}
_HEADER_BYTES = 128

_WORD = np.dtype("<u4")
_SLOT_BITS = 22
_SLOTS = _WORD.type((1 << _SLOT_BITS) - 1)
_TO_TAG = _WORD.type(24 - _SLOT_BITS)
_COLOR = _WORD.type(0x00FFFFFF)
_MARK = _WORD.type(0xFF000000)


def _srgb() -> ImageCms.ImageCmsProfile:
    make: Any = ImageCms.createProfile  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    return ImageCms.ImageCmsProfile(make("sRGB"))


@functools.cache
def srgb_profile() -> bytes:
    """An sRGB profile (IEC 61966-2-1) for embedding, the same bytes whenever it is asked for."""
    data = bytearray(_srgb().tobytes())
    data[24:36] = bytes.fromhex("07d0 0001 0001 0000 0000 0000")  # not the date of today (§7.2.8)
    return bytes(data)


class IccTransform:
    """From the colours of an RGB profile to sRGB, built once and applied to many tiles, from any thread.

    The answers of LittleCMS are remembered: a tissue slide has about a million colours, of which a tile has many that
    were asked before. Each remembered colour is one word: red, green, blue, and which of the colours that share its
    slot it answers. One word is written at once, so threads need no lock.
    """

    def __init__(self, transform: ImageCms.ImageCmsTransform, nbytes: int) -> None:
        self._transform = transform
        self._known = np.zeros(1 << _SLOT_BITS, _WORD)
        self.nbytes = nbytes + self._known.nbytes
        """Rough memory of the transform in bytes, for caches."""

    @classmethod
    def to_srgb(cls, profile: bytes, intent: Intent = "perceptual") -> IccTransform:
        """Build from the bytes of a profile.

        Raises CorruptData for a profile that is damaged or not one of RGB colours, UnsupportedFormat for one that does
        not describe a device (§8.7 to §8.9), LimitExceeded.
        """
        if len(profile) > MAX_PROFILE_BYTES:
            raise LimitExceeded(
                f"An ICC profile of {len(profile)} bytes is larger than {MAX_PROFILE_BYTES}",
                limit="icc profile bytes",
                value=len(profile),
            )
        _check_header(profile)
        try:
            opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            transform = ImageCms.buildTransform(opened, _srgb(), "RGB", "RGB", renderingIntent=_INTENTS[intent])
        except (ImageCms.PyCMSError, OSError, ValueError) as error:
            raise CorruptData(f"The slide's ICC profile cannot be used for its RGB pixels: {error}") from error
        return cls(transform, len(profile) + (1 << 20))

    def apply(self, array: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(height, width, 3) RGB of the profile's space to sRGB, exactly as LittleCMS converts it."""
        converted = np.empty(array.shape, np.uint8)
        for rows in bands(*array.shape[:2]):
            converted[rows] = self._apply(array[rows])
        return converted

    def _apply(self, array: NDArray[np.uint8]) -> NDArray[np.uint8]:
        size = (int(array.shape[1]), int(array.shape[0]))
        asked = _words(Image.fromarray(np.ascontiguousarray(array)))
        found = self._known.take(asked & _SLOTS)
        # Above the 24 bits of the answer: the bits of the colour that are not in its slot's number, behind six ones,
        # so that an empty slot answers nothing.
        wanted = (asked << _TO_TAG) | _COLOR
        missing = np.flatnonzero((found | _COLOR) != wanted)
        if missing.size:
            colors = asked.take(missing)
            told = _words(self._transform.apply(_image(colors, (missing.size, 1)))) & wanted.take(missing)
            found[missing] = told
            self._known[colors & _SLOTS] = told
        return np.asarray(_image(found, size))


def _words(image: Image.Image) -> NDArray[np.uint32]:
    """The pixels of an RGB image, red in the lowest byte, the highest byte set."""
    return np.frombuffer(image.tobytes("raw", "RGBX"), _WORD) | _MARK


def _image(words: NDArray[np.uint32], size: tuple[int, int]) -> Image.Image:
    return Image.frombuffer("RGBX", size, cast("Any", words), "raw", "RGBX", 0, 1).convert("RGB")


def _check_header(profile: bytes) -> None:
    """§7.2: what LittleCMS would refuse without a reason."""
    if len(profile) < _HEADER_BYTES or profile[36:40] != b"acsp":
        raise CorruptData("The slide's ICC profile is cut short or none at all")
    kind, space = profile[12:16], profile[16:20]
    if space == b"RGB " and kind in _NO_COLOR_SPACE:
        raise UnsupportedFormat(
            f"The slide's ICC profile is {_NO_COLOR_SPACE[kind]} and says nothing of its colours",
            feature=f"ICC profile class {kind.decode()}",
        )
    if space != b"RGB ":
        name = space.decode("ascii", "replace").strip()
        raise CorruptData(f"The slide's ICC profile is for {name!r} colours and its pixels are RGB")
