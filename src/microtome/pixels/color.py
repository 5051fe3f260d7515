"""ICC profiles (ICC.1:2022) to sRGB, through LittleCMS."""

from __future__ import annotations

import io
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from microtome.errors import CorruptData, LimitExceeded

Intent = Literal["perceptual", "relative", "saturation", "absolute"]
MAX_PROFILE_BYTES = 16 << 20
_INTENTS = {
    "perceptual": ImageCms.Intent.PERCEPTUAL,
    "relative": ImageCms.Intent.RELATIVE_COLORIMETRIC,
    "saturation": ImageCms.Intent.SATURATION,
    "absolute": ImageCms.Intent.ABSOLUTE_COLORIMETRIC,
}


def _srgb() -> Any:
    make: Any = ImageCms.createProfile  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    return make("sRGB")


class IccTransform:
    """From the colours of an RGB profile to sRGB, built once and applied to many tiles, from any thread."""

    def __init__(self, transform: ImageCms.ImageCmsTransform, nbytes: int) -> None:
        self._transform = transform
        self.nbytes = nbytes
        """Rough memory of the transform in bytes, for caches."""

    @classmethod
    def to_srgb(cls, profile: bytes, intent: Intent = "perceptual") -> IccTransform:
        """Build from the bytes of a profile. Raises CorruptData, LimitExceeded."""
        if len(profile) > MAX_PROFILE_BYTES:
            raise LimitExceeded(
                f"An ICC profile of {len(profile)} bytes is larger than {MAX_PROFILE_BYTES}",
                limit="icc profile bytes",
                value=len(profile),
            )
        try:
            opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            transform = ImageCms.buildTransform(
                opened, ImageCms.ImageCmsProfile(_srgb()), "RGB", "RGB", renderingIntent=_INTENTS[intent]
            )
        except (ImageCms.PyCMSError, OSError, ValueError) as error:
            raise CorruptData("The slide's ICC profile cannot be used for RGB pixels") from error
        return cls(transform, len(profile) + (1 << 20))

    def apply(self, array: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(height, width, 3) RGB of the profile's space to sRGB."""
        image = Image.fromarray(np.ascontiguousarray(array))
        return np.asarray(self._transform.apply(image))
