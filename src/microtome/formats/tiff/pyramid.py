"""Which images of a file are levels of the pyramid, which stand beside it. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from microtome.errors import CorruptData
from microtome.formats.tiff import description, tags
from microtome.formats.tiff.directory import Directory
from microtome.model import Level, Size

BASE_SIDE = 2048
"""A first image at least this long is full resolution, whatever follows: it can be served before the rest is read."""
STRIP_TILE = Size(512, 512)
"""The virtual tiles that strip-organised images are cut into."""
_RATIO_ERROR = 0.02


def is_base(directory: Directory) -> bool:
    """Whether the first image of a file must be its level 0, without a look at the others."""
    return directory.tile_size is not None and not directory.reduced and max(directory.size) >= BASE_SIDE


def levels(directories: Sequence[Directory]) -> list[Directory]:
    """The images of the pyramid, full resolution first.

    A level is organised like the base (tiles or strips), has its samples and its aspect ratio within rounding, and is
    strictly smaller than the one before. Focal planes, channels, labels and macros therefore never become levels.
    """
    usable = [d for d in directories if min(d.size) > 0 and _has_pixels(d)]
    tiled = [d for d in usable if d.tile_size is not None]
    if tiled and is_base(directories[0]):
        base = directories[0]
    else:
        choice = [d for d in tiled or usable if not d.reduced] or tiled or usable
        if not choice:
            return []
        base = max(choice, key=lambda d: d.size.width * d.size.height)
    found = [base]
    candidates = [d for d in (tiled if base.tile_size is not None else usable) if d is not base]
    for candidate in sorted(candidates, key=lambda d: -d.size.width * d.size.height):
        if _is_smaller_version(base, found[-1], candidate):
            found.append(candidate)
    return found


def _has_pixels(directory: Directory) -> bool:
    return tags.TILE_OFFSETS in directory.entries or tags.STRIP_OFFSETS in directory.entries


def _is_smaller_version(base: Directory, last: Directory, candidate: Directory) -> bool:
    if description.associated_name(candidate.text(tags.IMAGE_DESCRIPTION)) is not None:
        return False
    if base.tile_size is None and not candidate.reduced:
        return False  # pages of a strip-organised file are pages, unless marked as reduced
    if candidate.number(tags.SAMPLES_PER_PIXEL, 1) != base.number(tags.SAMPLES_PER_PIXEL, 1):
        return False
    if candidate.size.width >= last.size.width or candidate.size.height >= last.size.height:
        return False
    across, down = (b / c for b, c in zip(base.size, candidate.size, strict=True))
    # A side of n px may have been rounded by one: that is the error a ratio may have, beside a little slack.
    slack = _RATIO_ERROR + 1.0 / min(candidate.size)
    return abs(across - down) <= slack * max(across, down) and min(across, down) > 1.2


def facts(directory: Directory, base: Directory) -> Level:
    """Size, tile size and downsample of a level. Raises CorruptData for an image without pixels."""
    size = directory.size
    if min(size) < 1:
        raise CorruptData(f"An image of {size.width} x {size.height} px cannot be", offset=directory.offset)
    downsample = (base.size.width / size.width + base.size.height / size.height) / 2
    return Level(size, directory.tile_size or STRIP_TILE, downsample)


def associated(directories: Sequence[Directory], pyramid: Sequence[Directory]) -> dict[str, Directory]:
    """The label, macro and thumbnail among the images that are no levels.

    Their description names them; Aperio's thumbnail is the unnamed image behind the first, and a scanner that names
    nothing marks label (1) and macro (9) with NewSubfileType.
    """
    found: dict[str, Directory] = {}
    others = [d for d in directories if all(d is not level for level in pyramid) and min(d.size) > 0 and _has_pixels(d)]
    aperio = bool(directories) and "Aperio" in directories[0].text(tags.IMAGE_DESCRIPTION)[:1024]
    for directory in others:
        name = description.associated_name(directory.text(tags.IMAGE_DESCRIPTION))
        if name is None and aperio:
            kind = directory.number(tags.NEW_SUBFILE_TYPE)
            name = {1: "label", 9: "macro"}.get(kind, "thumbnail" if directory is directories[1] else None)
        if name is not None:
            found.setdefault(name, directory)
    return found
