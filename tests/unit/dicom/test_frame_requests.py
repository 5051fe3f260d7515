"""Tables of frames are made once; then any frame is one request of its own bytes, and no file is read whole."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import pytest
from pydicom.uid import UID

from microtome.dicom import syntaxes
from microtome.dicom.files import FileContent
from microtome.dicom.index.base import Stored
from microtome.dicom.index.ingest import Collector, read_distant
from microtome.dicom.part10 import Memory
from microtome.dicom.rows import InstanceRow
from microtome.errors import CorruptData, NotFound
from microtome.storage.memory import MemoryStore
from tests.unit.dicom.instances import dataset, encoded
from tests.unit.dicom.making import SEQUENCE_END, UNDEFINED, explicit, item

FRAMES = 100_000
LENGTH = 64
SIDE = 8
GRAY = {
    "SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2", "BitsAllocated": 8, "BitsStored": 8,
    "HighBit": 7, "PixelRepresentation": 0, "Rows": SIDE, "Columns": SIDE, "NumberOfFrames": FRAMES,
}  # fmt: skip


class Distant(MemoryStore):
    """Nothing is at hand: every byte is asked for."""

    def peek(self, key: str, start: int, stop: int, *, etag: str) -> bytes | None:
        return None


def content_of(number: int) -> bytes:
    return b"\xff\xd8\xff" + struct.pack("<I", number) + bytes(LENGTH - 7)


@pytest.fixture(scope="module")
def frames() -> bytes:
    return b"".join(item(content_of(number)) for number in range(FRAMES)) + SEQUENCE_END


def compressed(frames: bytes, *, table: bool) -> bytes:
    made = dataset(1, **GRAY)
    made.file_meta.TransferSyntaxUID = UID(syntaxes.JPEG_BASELINE)
    offsets = struct.pack(f"<{FRAMES}I", *range(0, FRAMES * (LENGTH + 8), LENGTH + 8)) if table else b""
    return encoded(made) + explicit(0x7FE0_0010, "OB", item(offsets), length=UNDEFINED) + frames


async def indexed(store: MemoryStore) -> InstanceRow:
    info = await store.head("a.dcm")
    store.log.clear()
    (found,) = (await read_distant(store, [Stored(info.key, info.size, info.etag)])).files
    assert found.row is not None, found.reason
    assert found.reason == ""
    return found.row


async def asked_for(store: MemoryStore, content: FileContent, row: InstanceRow, numbers: Sequence[int]) -> None:
    """Every one of these frames costs one request, of its own bytes."""
    for number in numbers:
        store.log.clear()
        (frame,) = await content.frames(row, [number])
        assert frame == content_of(number - 1)
        assert [request.stop - request.start for request in store.log] == [LENGTH]


async def test_a_basic_offset_table_of_a_distant_file_is_believed(frames: bytes) -> None:
    store = Distant({"a.dcm": compressed(frames, table=True)})
    row = await indexed(store)
    assert row.frame_table is not None
    assert store.requests < 20
    assert store.bytes_read < FRAMES * 4 + (128 << 10), "the table, and a look at a few items"
    await asked_for(store, FileContent(store), row, [1, 77_777, FRAMES])


async def test_without_a_table_a_distant_file_is_read_once_in_large_pieces(frames: bytes) -> None:
    data = compressed(frames, table=False)
    store = Distant({"a.dcm": data})
    row = await indexed(store)
    assert store.requests <= len(data) // (4 << 20) + 4
    content = FileContent(store)
    await asked_for(store, content, row, [FRAMES, 2, 50_000])
    with pytest.raises(NotFound):
        await content.frames(row, [FRAMES + 1])


async def test_frames_of_native_pixel_data_are_a_matter_of_arithmetic() -> None:
    made = dataset(1, **GRAY)
    made.PixelData = b"".join(map(content_of, range(FRAMES)))
    store = Distant({"a.dcm": encoded(made)})
    row = await indexed(store)
    assert store.bytes_read <= 64 << 10
    content = FileContent(store)
    store.log.clear()
    await content.frames(row, [5])
    assert store.requests == 2, "the header once, and the frame"
    assert store.bytes_read < 4096
    await asked_for(store, content, row, [1, 77_777, FRAMES])


async def test_the_table_is_made_once_and_kept(frames: bytes) -> None:
    store = Distant({"a.dcm": compressed(frames, table=False)})
    row = await indexed(store)
    content = FileContent(store)
    await asked_for(store, content, row, [9])
    assert content.peek(row, [9]) is None, "there is nothing at hand in a distant store"
    near = MemoryStore({"a.dcm": compressed(frames, table=False)})
    row = await indexed(near)
    content = FileContent(near)
    assert content.peek(row, [9]) is None, "the table was not unpacked yet"
    await content.frames(row, [1])
    near.log.clear()
    assert content.peek(row, [9]) == [content_of(8)]
    assert content.peek(row, [FRAMES + 1]) is None
    assert near.requests == 0


class CountingFile:
    """Bytes as a file that counts what is read of it."""

    def __init__(self, data: bytes) -> None:
        self._file = Memory(data)
        self.size = len(data)
        self.read = 0

    def read_at(self, offset: int, length: int) -> bytes:
        data = self._file.read_at(offset, length)
        self.read += len(data)
        return data


@pytest.mark.parametrize("table", [True, False])
def test_the_index_reads_headers_of_items_and_no_frames(frames: bytes, table: bool) -> None:
    file = CountingFile(compressed(frames, table=table))
    collector = Collector()
    collector.add(Stored("a.dcm", file.size, "1"), file)
    (found,) = collector.batch.files
    assert found.row is not None
    assert found.row.frame_table is not None
    assert len(found.row.frame_table) < 4096, "equal steps are told in few bytes"
    assert file.read <= FRAMES * 8 + table * FRAMES * 4 + (64 << 10)


async def test_large_values_are_read_piece_by_piece() -> None:
    made = dataset(1, **GRAY)
    made.PixelData = b"".join(map(content_of, range(FRAMES)))
    data = encoded(made)
    store = Distant({"a.dcm": data})
    row = await indexed(store)
    content = FileContent(store)
    value = await content.value(row, "7FE00010")
    assert value.length == FRAMES * LENGTH
    store.log.clear()
    pieces = [piece async for piece in value.read(100, value.length)]
    assert b"".join(pieces) == made.PixelData[100:]
    assert max(request.stop - request.start for request in store.log) <= 1 << 20
    assert b"".join([piece async for piece in content.part10(row)]) == data


async def test_a_value_that_is_cut_off_is_told() -> None:
    made = dataset(1, **GRAY)
    made.PixelData = bytes(FRAMES * LENGTH)
    store = Distant({"a.dcm": encoded(made)[:-1000]})
    info = await store.head("a.dcm")
    (found,) = (await read_distant(store, [Stored(info.key, info.size, info.etag)])).files
    assert found.row is not None
    content = FileContent(store)
    with pytest.raises(CorruptData):
        await content.frames(found.row, [FRAMES])
