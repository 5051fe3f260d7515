"""What is a slide, told from names and, where these leave it open, from the first bytes."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from microtome.formats.base import FolderFormat, Suffixed
from microtome.formats.registry import FormatRegistry

IsSlide = Callable[[str, bytes | None], bool | None]
"""(file name, first bytes or None): whether the file is a slide; None when the name alone does not tell."""

IsFolderSlide = Callable[[Sequence[str]], bool]
"""Whether a folder is a slide, by the names in it, relative to it."""

HoldsSlides = Callable[[str], Awaitable[bool]]
"""(key): whether the DICOM file or folder there is, or holds, a slide, as far as somebody knows."""

HEAD_BYTES = 4096
"""So many first bytes are read where a name leaves it open."""

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
"""Names of pictures: slides where somebody put them as such, parts and previews of slides elsewhere."""

DICOM = (".dcm", ".dicom")
"""Names of DICOM instances: many of them side by side are one slide."""

DICOM_FORMATS = ("wsidicom", "openslide")
"""The formats that read them, the one first that reads all of them."""

SUFFIXES = (
    ".svs", ".tif", ".tiff", ".tf2", ".tf8", ".btf", ".qptiff", ".ndpi", ".vms", ".vmu", ".mrxs", ".scn", ".svslide",
    ".bif", ".czi", ".vsi", *PICTURES, *DICOM,
    ".mvt", ".mvt.gz", ".pbf", ".pbf.gz", ".geojson", ".geojson.gz", ".mbtiles", ".pmtiles",
)  # fmt: skip
"""Names of files that are slides."""

UNSURE = (".json", ".json.gz")
"""Names of files that may be anything: a manifest of vector tiles, a tile, or somebody's notes."""


_PART = re.compile(r"\.zarr/|(?:^|/)_[^/]+_/stack\d+/", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Kinds:
    """The rules slides are listed by. They are pure and quick: ``is_slide`` is asked for every name of a folder.

    ``is_dicom_folder`` tells a folder of DICOM files, whatever is in them. ``holds_slides`` knows that; None: nobody
    does, and names must do.
    """

    is_slide: IsSlide
    is_folder_slide: IsFolderSlide
    is_dicom_folder: IsFolderSlide = lambda _: False
    holds_slides: HoldsSlides | None = None

    def is_one_slide(self, names: Sequence[str]) -> bool:
        """Whether a folder with these names is to be listed as one slide.

        Where slides lie side by side, the folder is none, whoever could open it (the index of a MIRAX slide with its
        data, a DICOM file beside others), unless what lies deeper makes it one: an OME-Zarr image, a set of tiles.
        """
        if any(self._stands_alone(name) for name in names):
            names = [name for name in names if "/" in name or name.startswith(".") or name.endswith(".json")]
        return bool(names) and self.is_folder_slide(names)

    def is_dicom_alone(self, names: Sequence[str]) -> bool:
        """Whether a folder holds DICOM files side by side and, as far as these names go, nothing else."""
        flat = not any("/" in name or (self.is_slide(name, None) and not _is_dicom(name)) for name in names)
        return flat and self.is_dicom_folder(names)

    def _stands_alone(self, name: str) -> bool:
        """Whether it is, by its name, a slide directly in the folder, and neither a picture nor part of a series."""
        return "/" not in name and not name.lower().endswith((*PICTURES, *DICOM)) and bool(self.is_slide(name, None))


def kinds_of(formats: FormatRegistry) -> Kinds:
    """What is a slide for these formats: files with our or their suffixes, and folders that a format knows."""
    families = [each for each in formats.formats if isinstance(each, FolderFormat)]
    named = [suffix for each in formats.formats if isinstance(each, Suffixed) for suffix in each.suffixes]

    def recognises(head: bytes, name: str) -> bool:
        return any(each.recognises(head, name) for each in formats.formats)

    def is_folder_slide(names: Sequence[str]) -> bool:
        return any(each.recognises_folder(names) for each in families)

    def is_dicom_folder(names: Sequence[str]) -> bool:
        found = {each.name for each in families if each.recognises_folder(names)}
        return DICOM_FORMATS[0] in found and found <= {*DICOM_FORMATS}

    return Kinds(by_suffix((*SUFFIXES, *named), recognises=recognises), is_folder_slide, is_dicom_folder)


def without_dicom(kinds: Kinds) -> Kinds:
    """The rules for what is no DICOM: its slides are listed by their series."""

    def is_slide(name: str, head: bytes | None) -> bool | None:
        return False if _is_dicom(name) else kinds.is_slide(name, head)

    def is_folder_slide(names: Sequence[str]) -> bool:
        return kinds.is_folder_slide(names) and not kinds.is_dicom_folder(names)

    return replace(kinds, is_slide=is_slide, is_folder_slide=is_folder_slide)


def _is_dicom(name: str) -> bool:
    return name.lower().endswith(DICOM)


def is_part(key: str) -> bool:
    """Whether a key is inside of a slide of many files: the chunks of a Zarr image, the frames of a VSI slide."""
    return _PART.search(key) is not None


def by_suffix(
    suffixes: Iterable[str] = SUFFIXES,
    unsure: Iterable[str] = UNSURE,
    recognises: Callable[[bytes, str], bool] | None = None,
) -> IsSlide:
    """A rule by the end of the name, in any case. Hidden files (``.name``) are no slides.

    ``recognises(first bytes, name)`` decides for the endings of ``unsure``; without it they are no slides.
    """
    certain = tuple(suffix.lower() for suffix in suffixes)
    open_to_doubt = tuple(suffix.lower() for suffix in unsure)

    def is_slide(name: str, head: bytes | None) -> bool | None:
        lowered = name.lower()
        if lowered.startswith("."):
            return False
        if not lowered.endswith(open_to_doubt):
            return lowered.endswith(certain)
        if recognises is None:
            return False
        return None if head is None else recognises(head, name)

    return is_slide
