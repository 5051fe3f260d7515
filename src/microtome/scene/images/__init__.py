"""Volumes in files: NRRD, NIfTI and MetaImage, read with numpy alone. Headers are doubted before memory is taken.

``open_image`` finds out which of them a file is. Nothing here knows MRML.
"""

from microtome.scene.images.image import Image, Limits
from microtome.scene.images.opening import check_image, describe, open_image

__all__ = ["Image", "Limits", "check_image", "describe", "open_image"]
