"""Slides of other formats as DICOM instances: frames are read from the open slide, headers are made of its facts.

An instance of a slide has the key ``/slide:KEY#NUMBER``, with the slide's own key in it.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar, cast

import imagecodecs
import numpy as np
import orjson
from numpy.typing import NDArray

from microtome.caching import Cache
from microtome.dicom import wsi
from microtome.dicom.content import Value, at_hand, value_at
from microtome.dicom.dataset import Dataset
from microtome.dicom.image import PIXEL_DATA
from microtome.dicom.index.answers import packed
from microtome.dicom.index.base import Batch, Scanned, Stored
from microtome.dicom.json import INLINE, to_json
from microtome.dicom.rows import SLIDE, WHOLE_SLIDE, InstanceRow, Level, PixelPlace, attributes_of
from microtome.dicom.scanner import PixelData
from microtome.dicom.sequences import NOTHING, Items
from microtome.dicom.wsi import Annotation, Coding, SlideIdentity, VirtualInstance
from microtome.errors import Conflict, CorruptData, NotFound, UnsupportedFormat
from microtome.model import EncodedTile, Raster, SlideInfo, TileIndex
from microtome.pixels import codecs

_WHITE = 255
_QUALITY = 90
_DESCRIBED_BUDGET = 64 << 20
_DESCRIBED_BYTES = 4096
"""What is kept of a slide: facts, codings, no tiles."""

T = TypeVar("T")


class OpenedSlide(Protocol):
    """The part of an open slide that is needed here; ``formats.base.Slide`` has it."""

    async def info(self) -> SlideInfo:
        """The facts."""
        ...

    async def read_tile(self, index: TileIndex) -> EncodedTile | Raster:
        """A tile as stored, or its samples."""
        ...

    async def read_associated(self, name: str) -> EncodedTile | Raster:
        """A picture beside the pyramid."""
        ...


class Slides(Protocol):
    """Where open slides come from."""

    async def run(self, key: str, work: Callable[[OpenedSlide, str], Awaitable[T]]) -> T:
        """``work`` with the open slide of a key and the ETag of its version."""
        ...


@dataclass(frozen=True, slots=True)
class DescribedSlide:
    """A slide as a study: identity, facts and instances."""

    identity: SlideIdentity
    info: SlideInfo
    instances: tuple[VirtualInstance, ...]

    def header(self, instance: VirtualInstance, annotation: Annotation | None = None) -> Dataset:
        """The data set of an instance."""
        return wsi.header(self.identity, self.info, instance, annotation)

    def row(self, instance: VirtualInstance, study_uid: str | None = None) -> InstanceRow:
        """The instance as an index keeps it. Its size is not known before all of it was read: 0."""
        bits = 8 * np.dtype(self.info.dtype).itemsize if instance.level is not None else 8
        encapsulated = instance.coding.transfer_syntax != wsi.NATIVE
        frame = instance.tile.width * instance.tile.height * instance.channels * bits // 8
        return InstanceRow(
            study_uid=study_uid or self.identity.study_uid,
            series_uid=self.identity.series_uid,
            sop_uid=instance.sop_uid,
            sop_class=WHOLE_SLIDE,
            transfer_syntax=instance.coding.transfer_syntax,
            number=instance.number,
            key=f"{SLIDE}{self.identity.id}#{instance.number}",
            version=self.identity.version,
            size=0,
            rows=instance.tile.height,
            columns=instance.tile.width,
            frames=instance.frames,
            bits=bits,
            pixel=PixelPlace(
                "OB" if encapsulated or bits == 8 else "OW", 0, None if encapsulated else frame * instance.frames
            ),
            frame_table=None,
            header_length=0,
        )


def slide_key(key: str) -> str:
    """The slide's own key in the key of one of its instances; other keys as they are."""
    return key.removeprefix(SLIDE).rpartition("#")[0] if key.startswith(SLIDE) else key


_ATTRIBUTES = re.compile(r";attributes=[0-9a-f]{16}")


def slide_version(version: str) -> str:
    """The version of the file in the version of an instance made of it."""
    return _ATTRIBUTES.sub("", version)


def stored_version(version: str, annotation: Annotation | None) -> str:
    """The version of an instance: that of the file, and of what is known of patient and specimen."""
    return version if annotation is None else f"{version};attributes={annotation.digest}"


def batch_of(described: DescribedSlide, annotation: Annotation | None = None) -> Batch:
    """All instances of a slide, for an index. Blocks."""
    batch = Batch()
    for instance in described.instances:
        header = described.header(instance, annotation)
        row = described.row(instance, header.string(0x0020_000D))
        pixels = PixelData(PIXEL_DATA, row.pixel.vr, 0, row.pixel.length) if row.pixel is not None else None
        document = to_json(header, bulk_uri=str, inline_up_to=INLINE, pixels=pixels)
        text = orjson.dumps(document)
        if not batch.templates:
            batch.templates.append(text)
            batch.studies[row.study_uid] = attributes_of(Level.STUDY, document)
            batch.series[row.study_uid, row.series_uid] = attributes_of(Level.SERIES, document)
        stored = Stored(row.key, row.size, stored_version(row.version, annotation))
        batch.files.append(Scanned(stored, row, 0, packed(text, batch.templates[0])))
    return batch


class SlideContent:
    """``content.Content`` of slides. ``annotations`` gives what is known of the patient of a slide, by its id."""

    def __init__(
        self,
        slides: Slides,
        annotations: Callable[[str], Annotation | None] = lambda _: None,
        *,
        label: bool = True,
    ) -> None:
        self._slides = slides
        self._annotations = annotations
        self._label = label
        self._described: Cache[str, DescribedSlide] = Cache(
            _DESCRIBED_BUDGET, weigh=lambda found: _DESCRIBED_BYTES * (1 + len(found.instances))
        )

    async def described(self, key: str) -> DescribedSlide:
        """A slide as a study. Raises UnsupportedFormat for slides that DICOM has no form for."""

        async def work(slide: OpenedSlide, version: str) -> DescribedSlide:
            found = f"{key}\0{version}"
            return await self._described.get_or_compute(found, lambda: self._describe(key, slide, version))

        return await self._slides.run(key, work)

    async def _describe(self, key: str, slide: OpenedSlide, version: str) -> DescribedSlide:
        info = await slide.info()
        if not wsi.is_possible(info):
            raise UnsupportedFormat(
                "Only slides with unsigned samples of 8 or 16 bits can be shown as DICOM", feature="samples"
            )
        codings: dict[int | str, Coding] = {}
        for number in range(len(info.levels)):
            codings[number] = wsi.coding_of(await slide.read_tile(TileIndex(number, 0, 0)), _samples(info))
        for image in info.associated:
            try:
                picture = await slide.read_associated(image.name)
            except (CorruptData, UnsupportedFormat, NotFound):
                continue  # a label that cannot be read does not hide the slide
            codings[image.name] = wsi.coding_of(picture, _channels(picture))
        identity = SlideIdentity(key, version, key.rstrip("/").rpartition("/")[2])
        return DescribedSlide(identity, info, wsi.instances(identity, info, codings, label=self._label))

    async def headers(self, key: str) -> tuple[DescribedSlide, list[Dataset]]:
        """A slide as a study, and the data sets of its instances. Raises as ``described``."""
        found = await self.described(key)
        known = self._annotations(found.identity.id)
        return found, [found.header(each, known) for each in found.instances]

    # -- content.Content ---------------------------------------------------------------------------------------------

    async def items(self, row: InstanceRow) -> Items:
        """See ``content.Content``. No sequence of ours is large."""
        return NOTHING

    async def header(self, row: InstanceRow) -> Dataset:
        """See ``content.Content``."""
        described, instance = await self._instance(row)
        return described.header(instance, self._annotations(described.identity.id))

    async def frames(self, row: InstanceRow, numbers: Sequence[int]) -> list[bytes]:
        """See ``content.Content``."""
        _, instance = await self._instance(row)
        beyond = next((number for number in numbers if not 1 <= number <= instance.frames), None)
        if beyond is not None:
            raise NotFound("frame", str(beyond), f"There is no frame {beyond}; there are {instance.frames}")

        async def work(slide: OpenedSlide, version: str) -> list[bytes]:
            if version != slide_version(row.version):
                raise Conflict("The slide was replaced; look its instances up again")
            info = await slide.info()
            return [await _frame(slide, info, instance, number - 1) for number in numbers]

        return await self._slides.run(slide_key(row.key), work)

    def peek(self, row: InstanceRow, numbers: Sequence[int]) -> list[bytes] | None:
        """See ``content.Content``: slides are read by their own service."""
        return None

    async def part10(self, row: InstanceRow) -> AsyncIterator[bytes]:
        """See ``content.Content``: the header, then one frame after the other."""
        from microtome.dicom.encapsulated import END, item_of
        from microtome.dicom.write import pixel_data_header, preamble

        header = await self.header(row)
        yield preamble(header, row.transfer_syntax)
        encapsulated = row.transfer_syntax != wsi.NATIVE
        length = None if row.pixel is None else row.pixel.length
        yield pixel_data_header("OB" if encapsulated else row.pixel.vr if row.pixel else "OB", length)
        if encapsulated:
            yield item_of(b"")  # no table of offsets: frames are read while they are sent
        for number in range(1, row.frames + 1):
            frame = (await self.frames(row, [number]))[0]
            yield item_of(frame) if encapsulated else frame
        if encapsulated:
            yield END
        elif (length or 0) % 2:
            yield b"\0"

    async def bulk(self, row: InstanceRow, path: str) -> bytes:
        """See ``content.Content``: what of the header is large, such as the ICC profile."""
        value = value_at(await self.header(row), path)
        if not isinstance(value, bytes):
            raise NotFound("bulk data", path[:200])
        return value

    async def value(self, row: InstanceRow, path: str) -> Value:
        """See ``content.Content``."""
        return at_hand(await self.bulk(row, path))

    async def _instance(self, row: InstanceRow) -> tuple[DescribedSlide, VirtualInstance]:
        described = await self.described(slide_key(row.key))
        found: Mapping[str, VirtualInstance] = {each.sop_uid: each for each in described.instances}
        if row.sop_uid not in found:
            raise Conflict("The slide was replaced; look its instances up again")
        return described, found[row.sop_uid]


async def _frame(slide: OpenedSlide, info: SlideInfo, instance: VirtualInstance, frame: int) -> bytes:
    index, path = instance.place(frame)
    if instance.level is None:
        tile = await slide.read_associated(instance.associated)
    else:
        tile = await slide.read_tile(index)
    if _is_frame(tile, instance):
        return cast("EncodedTile", tile).data
    raster = codecs.decode(tile) if isinstance(tile, EncodedTile) else tile
    array = _padded(raster.array, instance)
    if instance.channels == 1 and array.shape[2] > 1:
        array = array[:, :, path : path + 1]
    return _encoded(np.ascontiguousarray(array), instance.coding)


def _is_frame(tile: EncodedTile | Raster, instance: VirtualInstance) -> bool:
    """Whether a stored tile is coded as the header of the instance says, so that it is a frame as it is."""
    return (
        isinstance(tile, EncodedTile)
        and tile.size == instance.tile
        and (coding := wsi.coding_of(tile, instance.channels)).transfer_syntax == instance.coding.transfer_syntax
        and coding.photometric == instance.coding.photometric
        and coding.transfer_syntax != wsi.NATIVE
    )


def _padded(array: NDArray[np.generic], instance: VirtualInstance) -> NDArray[np.generic]:
    height, width = array.shape[:2]
    if (width, height) == instance.tile:
        return array
    whole = np.full(
        (instance.tile.height, instance.tile.width, array.shape[2]),
        _WHITE if instance.channels == 3 else 0,
        array.dtype,
    )
    whole[:height, :width] = array[: instance.tile.height, : instance.tile.width]
    return whole


def _encoded(array: NDArray[np.generic], coding: Coding) -> bytes:
    """Samples in the coding of an instance whose other tiles are stored so: blank tiles, and those of another form."""
    if coding.transfer_syntax == wsi.NATIVE:
        return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
    pixels = np.asarray(array, np.uint8)
    pixels = pixels[:, :, 0] if pixels.shape[2] == 1 else pixels
    if coding.transfer_syntax == wsi.JPEG:
        outer = {"RGB": "RGB", "YBR_FULL_422": "YCBCR", "MONOCHROME2": "GRAYSCALE"}[coding.photometric]
        inner = "GRAYSCALE" if pixels.ndim == 2 else "RGB"
        return bytes(imagecodecs.jpeg8_encode(pixels, level=_QUALITY, colorspace=inner, outcolorspace=outer))
    lossless = coding.transfer_syntax == wsi.JPEG_2000_LOSSLESS
    mixed = coding.photometric in {"YBR_RCT", "YBR_ICT"}
    return bytes(
        imagecodecs.jpeg2k_encode(
            pixels, level=0 if lossless else 40, reversible=lossless, mct=mixed, codecformat="j2k"
        )
    )


def _samples(info: SlideInfo) -> int:
    return 3 if tuple(channel.name for channel in info.channels) == ("R", "G", "B") else 1


def _channels(picture: EncodedTile | Raster) -> int:
    if isinstance(picture, EncodedTile):
        return 1 if picture.color == "gray" else 3
    return int(picture.array.shape[2])
