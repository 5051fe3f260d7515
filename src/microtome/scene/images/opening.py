"""Which kind of volume a file is, told by its first bytes."""

from __future__ import annotations

from pathlib import Path

from microtome.errors import NotFound
from microtome.scene.images import metaimage, nifti, nrrd
from microtome.scene.images.image import Image, Limits, unsupported


def describe(path: Path) -> str:
    """``nrrd``, ``nifti``, ``metaimage``, or "" for none of them. Raises NotFound, CorruptData."""
    try:
        with path.open("rb") as file:
            head = file.read(4096)
    except OSError as error:
        raise NotFound("file", path.name) from error
    if head.startswith(nrrd.MAGIC):
        return "nrrd"
    if head.startswith(b"\x1f\x8b"):
        return "nifti" if nifti.recognises(nifti.read_head(path)) else ""
    if nifti.recognises(head):
        return "nifti"
    return "metaimage" if metaimage.recognises(head) else ""


def check_image(path: Path, limits: Limits) -> None:
    """Whether a header tells the truth about its data, without reading the data. Raises as ``open_image``."""
    match describe(path):
        case "nrrd":
            nrrd.check(path, limits)
        case "nifti":
            nifti.check(path, limits)
        case "metaimage":
            metaimage.read(path, limits)
        case _:
            raise unsupported(f"{path.name} is neither NRRD nor NIfTI nor MetaImage")


def open_image(path: Path, limits: Limits) -> Image:
    """The volume of a file.

    Raises UnsupportedFormat, CorruptData (headers that lie about their data), LimitExceeded, NotFound and Forbidden
    (files that the header names).
    """
    match describe(path):
        case "nrrd":
            return nrrd.read(path, limits)
        case "nifti":
            return nifti.read(path, limits)
        case "metaimage":
            return metaimage.read(path, limits)
        case _:
            raise unsupported(f"{path.name} is neither NRRD nor NIfTI nor MetaImage")
