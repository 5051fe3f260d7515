"""A slide as derived objects refer to it: its study, series, frame of reference and images, stored or only shown."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from microtome.dicom.content import Content
from microtome.dicom.dataset import Dataset
from microtome.dicom.index.base import Index
from microtome.dicom.overlays.plane import Plane, plane_of
from microtome.dicom.rows import WHOLE_SLIDE, is_uid
from microtome.dicom.series import FOLDER
from microtome.dicom.slides import SlideContent
from microtome.errors import CorruptData, NotFound

MOST_IMAGES = 500
MOST_REFERENCES = 10_000
_STUDY, _FRAME_OF_REFERENCE, _IMAGE_TYPE = 0x0020_000D, 0x0020_0052, 0x0008_0008
_SERIES, _SOP_INSTANCE = 0x0020_000E, 0x0008_0018
_REFERENCED_SERIES, _REFERENCED_INSTANCES = 0x0008_1115, 0x0008_114A
_REFERENCED_IMAGES, _REFERENCED_UID, _SOURCES = 0x0008_1140, 0x0008_1155, 0x0008_2112


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """``planes`` are the images of the slide itself, the finest first; ``sop_uids`` those of the whole series."""

    studies: tuple[str, ...]
    series_uid: str
    frame_of_reference: str
    planes: tuple[Plane, ...]
    sop_uids: frozenset[str]

    def is_meant_by(self, header: Dataset) -> bool:
        """Whether a derived object is one of this slide: by its frame of reference, or what it refers to."""
        if self.frame_of_reference and header.string(_FRAME_OF_REFERENCE) == self.frame_of_reference:
            return True
        if any(each.string(_SERIES) == self.series_uid for each in header.items(_REFERENCED_SERIES)):
            return True
        return any(uid in self.sop_uids for uid in references(header))

    def plane_for(self, header: Dataset) -> Plane:
        """The image a derived object refers to, the finest where it names none or several."""
        named = set(references(header))
        found = [plane for plane in self.planes if plane.sop_uid in named]
        return found[0] if found else self.planes[0]


def references(header: Dataset) -> Iterator[str]:
    """SOP Instance UIDs that a derived object refers to in front of its frames."""
    images = [*header.items(_REFERENCED_IMAGES), *header.items(_SOURCES)]
    images += [each for series in header.items(_REFERENCED_SERIES) for each in series.items(_REFERENCED_INSTANCES)]
    for each in images[:MOST_REFERENCES]:
        yield each.string(_REFERENCED_UID)


async def subject_of(slide: str, index: Index, files: Content, slides: SlideContent) -> Subject:
    """The slide with the key ``slide``. Raises NotFound, UnsupportedFormat for what DICOM has no form for."""
    if slide.startswith(FOLDER):
        headers, studies = await _stored(slide, index, files)
    else:
        headers, studies = await _shown(slide, slides)
    images = [each for each in headers if "VOLUME" in each.strings(_IMAGE_TYPE)] or headers
    planes: list[Plane] = []
    for each in images:
        try:
            planes.append(plane_of(each))
        except CorruptData:
            continue
    if not planes:
        raise NotFound("overlays of slide", slide)
    planes.sort(key=lambda plane: -plane.size.width * plane.size.height)
    first = headers[0]
    return Subject(
        studies,
        first.string(_SERIES),
        images[0].string(_FRAME_OF_REFERENCE),
        tuple(planes),
        frozenset(each.string(_SOP_INSTANCE) for each in headers),
    )


async def _stored(slide: str, index: Index, files: Content) -> tuple[list[Dataset], tuple[str, ...]]:
    study, _, series = slide.removeprefix(FOLDER).partition("/")
    if not is_uid(study) or not is_uid(series):
        raise NotFound("slide", slide)
    rows = [row for row in await index.instances(study, series) if row.sop_class == WHOLE_SLIDE]
    if not rows:
        raise NotFound("slide", slide)
    return [await files.header(row) for row in rows[:MOST_IMAGES]], (study,)


async def _shown(slide: str, slides: SlideContent) -> tuple[list[Dataset], tuple[str, ...]]:
    described, headers = await slides.headers(slide)
    if not headers:
        raise NotFound("slide", slide)
    # What was made before anything was known of the patient is in the study that the slide alone was.
    return headers, tuple(dict.fromkeys((headers[0].string(_STUDY), described.identity.study_uid)))
