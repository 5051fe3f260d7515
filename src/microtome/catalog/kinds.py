"""What is a slide, told from names and, where these leave it open, from the first bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

IsSlide = Callable[[str, bytes | None], bool | None]
"""(file name, first bytes or None): whether the file is a slide; None when the name alone does not tell."""

IsFolderSlide = Callable[[Sequence[str]], bool]
"""Whether a folder is a slide, by the names in it, relative to it."""

HEAD_BYTES = 4096
"""So many first bytes are read where a name leaves it open."""

SUFFIXES = (
    ".svs", ".tif", ".tiff", ".tf2", ".tf8", ".btf", ".qptiff", ".ndpi", ".vms", ".vmu", ".mrxs", ".scn", ".svslide",
    ".bif", ".czi", ".vsi", ".png", ".jpg", ".jpeg", ".bmp", ".webp",
    ".mvt", ".mvt.gz", ".pbf", ".pbf.gz", ".geojson", ".geojson.gz", ".mbtiles", ".pmtiles",
)  # fmt: skip
"""Names of files that are slides."""

UNSURE = (".json", ".json.gz")
"""Names of files that may be anything: a manifest of vector tiles, a tile, or somebody's notes."""


@dataclass(frozen=True, slots=True)
class Kinds:
    """The rules a mapper lists by. They are pure and quick: ``is_slide`` is asked for every name of a folder."""

    is_slide: IsSlide
    is_folder_slide: IsFolderSlide


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
