"""One DICOM instance: its facts, and where its frames are. Everything here blocks; see ``slide``."""

from __future__ import annotations

import asyncio
import io
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

from microtome.errors import CorruptData, LimitExceeded, UnsupportedFormat
from microtome.model import Size
from microtome.pixels.codecs import MAX_PIXELS
from microtome.storage.file import RangeFile
from microtome.storage.pinned import PinnedObject

WHOLE_SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"
MAX_READ_BYTES = 256 << 20
"""One element of a header (a table of positions or offsets) may be so large."""
MAX_TILES = 50_000_000
_BUFFER = 128 * 1024
_PER_FRAME_GROUPS = 0x52009230


class _HeaderFile(io.BufferedReader):
    """Reads what a header asks for, unless it asks for more than any header needs."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or not 0 <= size <= MAX_READ_BYTES:
            raise CorruptData("A DICOM header claims an element that is larger than any", offset=self.tell())
        return super().read(size)


@dataclass(eq=False, slots=True)
class Instance:
    """The facts of one instance. ``tile`` is the size of its frames, ``image`` that of the total pixel matrix."""

    files: PinnedObject
    header: Any
    reader: Any
    uid: str
    identifier: str
    flavor: str
    syntax: str
    image: Size
    tile: Size
    samples: int
    allocated: int
    stored: int
    photometric: str

    def text(self, keyword: str) -> str:
        """An attribute as text, empty when it is missing."""
        value = self.header.get(keyword)
        return "" if value is None else str(value).strip()

    @property
    def paths(self) -> list[Any]:
        """The items of the Optical Path Sequence."""
        return list(self.header.get("OpticalPathSequence") or ())

    @property
    def frame_bytes(self) -> int:
        """Bytes of an uncompressed frame."""
        return self.tile.width * self.tile.height * self.samples * self.allocated // 8


def read_instance(files: PinnedObject, loop: asyncio.AbstractEventLoop) -> Instance:
    """Read the header up to the per-frame groups.

    Raises UnsupportedFormat for what is no whole slide image (``feature`` is the name of its SOP class) or cannot be
    read, CorruptData, LimitExceeded.
    """
    from pydicom import config
    from pydicom.filereader import read_partial
    from upath import UPath
    from wsidicom.file.io import WsiDicomReader  # pyright: ignore[reportMissingTypeStubs]
    from wsidicom.file.io.wsidicom_io import WsiDicomReadIO  # pyright: ignore[reportMissingTypeStubs]

    config.settings.reading_validation_mode = config.IGNORE  # a wrong date or UID is no reason to keep a slide back
    file = cast("BinaryIO", _HeaderFile(RangeFile(files, loop), _BUFFER))
    header: Any = read_partial(file, stop_when=lambda tag, vr, length: int(tag) >= _PER_FRAME_GROUPS)
    _check_class(header)
    image_type = [str(value) for value in header.get("ImageType") or ()]
    flavor = image_type[2] if len(image_type) > 2 else ""
    stream = WsiDicomReadIO(file, UPath("memory://instance"))
    try:
        reader: Any = WsiDicomReader(stream)
    except Exception as error:
        if type(error).__name__ != "WsiDicomNotSupportedError":
            raise
        raise UnsupportedFormat(
            f"A whole slide instance cannot be read: its flavour is {flavor or 'not given'}, its pixels are"
            f" {header.get('PhotometricInterpretation')} of {header.get('BitsStored')} bit in"
            f" {_name(header.file_meta.TransferSyntaxUID)}",
            feature=f"instance {flavor}",
        ) from error
    dataset = reader.dataset
    instance = Instance(
        files=files,
        header=header,
        reader=reader,
        uid=str(header.SOPInstanceUID),
        identifier=str(dataset.uids.identifier),
        flavor=flavor,
        syntax=str(header.file_meta.TransferSyntaxUID),
        image=Size(int(dataset.image_size.width), int(dataset.image_size.height)),
        tile=Size(int(dataset.tile_size.width), int(dataset.tile_size.height)),
        samples=int(header.SamplesPerPixel),
        allocated=int(header.BitsAllocated),
        stored=int(header.BitsStored),
        photometric=str(header.PhotometricInterpretation),
    )
    _check(instance)
    return instance


def _check_class(header: Any) -> None:
    found = header.get("SOPClassUID") or header.file_meta.get("MediaStorageSOPClassUID")
    if str(found) != WHOLE_SLIDE:
        name = "nothing" if found is None else _name(found)
        raise UnsupportedFormat(
            f"The DICOM object is no whole slide image but {name}; only VL Whole Slide Microscopy is shown as a slide",
            feature=name,
        )


def _name(uid: Any) -> str:
    name = str(getattr(uid, "name", uid))
    return name if name == str(uid) else f"{name} ({uid})"


def _check(instance: Instance) -> None:
    image, tile = instance.image, instance.tile
    if min(*image, *tile) < 1 or instance.samples not in {1, 3} or instance.allocated not in {8, 16}:
        raise CorruptData("A whole slide instance gives no sizes, samples or bits that make sense")
    if tile.width * tile.height > MAX_PIXELS:
        raise LimitExceeded(
            f"A tile of {tile.width} x {tile.height} px is larger than {MAX_PIXELS} px", limit="max_pixels",
            value=tile.width * tile.height,
        )  # fmt: skip
    tiles = -(-image.width // tile.width) * -(-image.height // tile.height)
    planes = max(1, int(instance.header.get("TotalPixelMatrixFocalPlanes") or 1))
    if tiles > MAX_TILES or planes > 10_000 or len(instance.paths) > 1000:
        raise LimitExceeded(f"A level of {tiles} tiles in {planes} planes is too large", limit="tiles", value=tiles)


class Tiling:
    """Where the frames of one image are; its parts are the instances of a concatenation (PS3.3 C.7.6.16.2.2.4)."""

    def __init__(self, parts: list[Instance]) -> None:
        from wsidicom.instance.tile_index.full_tile_index import FullTileIndex  # pyright: ignore[reportMissingTypeStubs]
        from wsidicom.instance.tile_index.sparse_tile_index import SparseTileIndex  # pyright: ignore[reportMissingTypeStubs]

        self.first = parts[0]
        self._parts = sorted(parts, key=lambda part: int(part.reader.frame_offset))
        datasets = [part.reader.dataset for part in self._parts]
        full = datasets[0].tile_type.name == "FULL"
        self._index: Any = FullTileIndex(datasets) if full else SparseTileIndex(datasets)
        self.identifiers = tuple(str(path) for path in self._index.optical_paths)
        self.planes: tuple[float, ...] = tuple(float(plane) for plane in self._index.focal_planes)
        self.loaded = False

    def load(self) -> None:
        """Read the offset tables. Raises CorruptData."""
        for part in self._parts:
            len(part.reader.frame_index)
        self.loaded = True

    def find(self, column: int, row: int, plane: float, identifier: str) -> tuple[Instance, int, int] | None:
        """The instance and the range of bytes of a frame, None for a tile that is not stored.

        ``load`` must have been called. Raises CorruptData for frames that the file does not hold.
        """
        from wsidicom.errors import WsiDicomNotFoundError  # pyright: ignore[reportMissingTypeStubs]
        from wsidicom.geometry import Point  # pyright: ignore[reportMissingTypeStubs]

        if plane not in self.planes or identifier not in self.identifiers:
            return None
        try:
            number = int(self._index.get_frame_index(Point(column, row), plane, identifier))
        except WsiDicomNotFoundError:
            return None
        if number < 0:
            return None
        for part in self._parts:
            place = number - int(part.reader.frame_offset)
            if 0 <= place < len(part.reader.frame_index):
                return self._range(part, place)
        raise CorruptData(f"The tile ({column}, {row}) is in frame {number + 1}, which the file does not hold")

    def _range(self, part: Instance, place: int) -> tuple[Instance, int, int]:
        from pydicom.uid import UID

        if UID(part.syntax).is_encapsulated:
            position, length = part.reader.frame_index[place]
        else:
            position = int(part.reader.frame_index[0][0]) + place * part.frame_bytes
            length = part.frame_bytes
        start, stop = int(position), int(position) + int(length)
        if not 0 < start < stop <= part.files.size:
            raise CorruptData(f"Frame {place + 1} reaches behind the end of the file", offset=start)
        return part, start, stop
