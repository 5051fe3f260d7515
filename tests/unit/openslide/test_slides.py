"""OpenSlide slides from anywhere: local copies with all their files, threads, broken tiles, replaced files."""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import openslide
import pytest
import tifffile

from microtome.errors import Conflict, CorruptData, LimitExceeded, MicrotomeError, NotFound, UnsupportedFormat
from microtome.formats.openslide import OpenSlideFormat
from microtome.formats.openslide import slide as module
from microtome.formats.registry import FormatRegistry
from microtome.formats.tiff import TiffFormat
from microtome.model import Raster, TileIndex
from microtome.storage.base import ObjectInfo
from microtome.storage.copies import LocalCopies
from microtome.storage.folder import open_files
from microtome.storage.local import LocalStore
from microtome.storage.memory import MemoryStore
from microtome.storage.pinned import PinnedObject
from tests.unit.openslide.makers import BACKGROUND, MISSING, mirax, vms
from tests.unit.openslide.test_files import expected

BUDGET = 64 << 20


def written(folder: Path, objects: Mapping[str, bytes]) -> Path:
    for key, data in objects.items():
        (folder / key).parent.mkdir(parents=True, exist_ok=True)
        (folder / key).write_bytes(data)
    return folder


def read_all(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def tiled(broken: int | None = None) -> bytes:
    """A tiled TIFF of 4 x 4 JPEG tiles of 64 px; one of them may be broken."""
    pixels = np.random.default_rng(5).integers(0, 255, (256, 256, 3), np.uint8)
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels, tile=(64, 64), compression="jpeg", photometric="ycbcr", metadata=None)
    data = bytearray(buffer.getvalue())
    if broken is not None:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            start = file.pages[0].dataoffsets[broken]  # pyright: ignore[reportAttributeAccessIssue]
        data[start : start + 8] = bytes(8)
    return bytes(data)


async def pixels(
    slide: object, level: int, column: int, row: int
) -> np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]:
    found = await slide.read_tile(TileIndex(level, column, row))  # type: ignore[attr-defined]
    assert isinstance(found, Raster)
    return found.array  # type: ignore[return-value]


class TestMirax:
    async def test_gaps_have_the_colour_of_the_slide(self, tmp_path: Path) -> None:
        store = LocalStore(written(tmp_path, mirax()))
        slide = await OpenSlideFormat().open(await open_files(store, "slide.mrxs"))
        info = await slide.info()
        assert (info.format_name, info.vendor, info.magnification) == ("3DHISTECH MIRAX", "mirax", 20)
        assert info.spacing_um == (0.25, 0.25)
        left, top = MISSING[0] * 240 + 20, MISSING[1] * 240 + 20
        tile = await pixels(slide, 0, left // 256, top // 256)
        assert tuple(tile[top % 256, left % 256]) == BACKGROUND
        assert tuple(tile[0, 0]) != BACKGROUND
        await slide.close()

    async def test_the_folder_that_holds_all_of_it_is_the_slide(self, tmp_path: Path) -> None:
        store = LocalStore(written(tmp_path / "case", mirax()).parent)
        files = await open_files(store, "case")
        formats = FormatRegistry([OpenSlideFormat(), TiffFormat()])
        slide = await formats.open(files)
        with openslide.OpenSlide(tmp_path / "case/slide.mrxs") as oracle:
            assert (await slide.info()).size == oracle.dimensions
        await slide.close()


async def _from_memory(objects: Mapping[str, bytes], key: str, path: Path, work: Path) -> None:
    store, copies = MemoryStore(objects), LocalCopies(work, BUDGET)
    slide = await OpenSlideFormat().open(await open_files(store, key, copies))
    info = await slide.info()
    with openslide.OpenSlide(path) as oracle:
        assert tuple(tuple(level.size) for level in info.levels) == oracle.level_dimensions
        assert {image.name for image in info.associated} == set(oracle.associated_images)
        for number, level in enumerate(info.levels):
            column, row = level.columns - 1, level.rows - 1
            wanted, opaque = expected(oracle, number, level.tile_size, column, row)
            found = await pixels(slide, number, column, row)
            assert np.abs(found.astype(int) - wanted).max() <= (0 if opaque else 1)
    await slide.close()
    copies.close()
    assert not read_all(work)


class TestFromABucket:
    @pytest.mark.parametrize("prefix", ["", "case/1/"])
    async def test_mirax_comes_with_its_folder(self, tmp_path: Path, prefix: str) -> None:
        slide = mirax("a b")
        written(tmp_path / "oracle", slide)
        objects = {prefix + key: data for key, data in slide.items()} | {f"{prefix}other.mrxs": b"other"}
        await _from_memory(objects, f"{prefix}a b.mrxs", tmp_path / "oracle/a b.mrxs", tmp_path / "copies")

    @pytest.mark.parametrize("prefix", ["", "case/1/"])
    async def test_vms_comes_with_its_files(self, tmp_path: Path, prefix: str) -> None:
        slide = vms("a b")
        written(tmp_path / "oracle", slide)
        objects = {prefix + key: data for key, data in slide.items()}
        await _from_memory(objects, f"{prefix}a b.vms", tmp_path / "oracle/a b.vms", tmp_path / "copies")

    async def test_a_folder_with_a_mirax_slide(self, tmp_path: Path) -> None:
        written(tmp_path / "oracle", mirax())
        objects = {f"case/{key}": data for key, data in mirax().items()}
        await _from_memory(objects, "case", tmp_path / "oracle/slide.mrxs", tmp_path / "copies")

    @pytest.mark.parametrize("name", ["vendor/ndpi/test3-DAPI-2-(387).ndpi", "svs/CMU-1-Small-Region.svs"])
    async def test_single_files(self, testdata: Path, tmp_path: Path, name: str) -> None:
        await _from_memory({name: (testdata / name).read_bytes()}, name, testdata / name, tmp_path / "copies")

    async def test_without_room_others_may_read_a_tiff_where_it_is(self, testdata: Path) -> None:
        name = "vendor/ndpi/test3-DAPI-2-(387).ndpi"
        files = await open_files(MemoryStore({name: (testdata / name).read_bytes()}), name, LocalCopies(None, 1000))
        with pytest.raises(UnsupportedFormat, match="must be copied"):
            await OpenSlideFormat().open(files)

    async def test_without_room_a_mirax_slide_is_too_large(self) -> None:
        files = await open_files(MemoryStore(mirax()), "slide.mrxs", LocalCopies(None, 1000))
        with pytest.raises(LimitExceeded) as failure:
            await OpenSlideFormat().open(files)
        assert failure.value.limit == "local_copies"

    async def test_without_copies_it_is_refused(self) -> None:
        files = await open_files(MemoryStore(mirax()), "slide.mrxs")
        with pytest.raises(UnsupportedFormat, match="local"):
            await OpenSlideFormat().open(files)

    async def test_what_cannot_be_opened_gives_its_room_back(self, tmp_path: Path) -> None:
        broken = mirax("a")
        broken["a/Index.dat"] = b"nonsense"
        objects = broken | mirax("b")
        size = sum(len(data) for data in mirax().values())
        copies = LocalCopies(tmp_path, size + 1000)
        store = MemoryStore(objects)
        with pytest.raises(CorruptData, match="OpenSlide") as failure:
            await OpenSlideFormat().open(await open_files(store, "a.mrxs", copies))
        assert str(tmp_path) not in str(failure.value)
        slide = await OpenSlideFormat().open(await open_files(store, "b.mrxs", copies))
        await slide.close()
        copies.close()


class TestReading:
    async def test_many_at_once_get_their_own_tiles(self, testdata: Path) -> None:
        name = "svs/CMU-1-Small-Region.svs"
        slide = await OpenSlideFormat().open(await open_files(LocalStore(testdata), name))
        level = (await slide.info()).levels[0]
        places = [(column, row) for column in range(level.columns) for row in range(level.rows)]
        found = await asyncio.gather(*(pixels(slide, 0, *place) for place in places))
        with openslide.OpenSlide(testdata / name) as oracle:
            for place, tile in zip(places, found, strict=True):
                assert np.array_equal(tile, expected(oracle, 0, level.tile_size, *place)[0])
        await slide.close()

    async def test_close_while_reading(self, testdata: Path) -> None:
        name = "svs/CMU-1-Small-Region.svs"
        slide = await OpenSlideFormat().open(await open_files(LocalStore(testdata), name))
        reading = [asyncio.ensure_future(pixels(slide, 0, column, 0)) for column in range(9)]
        await asyncio.sleep(0)
        await slide.close()
        results = await asyncio.gather(*reading, return_exceptions=True)
        assert all(isinstance(each, np.ndarray | Conflict) for each in results)
        with pytest.raises(Conflict):
            await pixels(slide, 0, 0, 0)
        await slide.close()

    async def test_a_broken_tile_costs_no_other(self, tmp_path: Path) -> None:
        (tmp_path / "a.tif").write_bytes(tiled(broken=5))
        slide = await OpenSlideFormat().open(await open_files(LocalStore(tmp_path), "a.tif"))
        places = [(column, row) for row in range(4) for column in range(4)]
        for _ in range(3):
            found = await asyncio.gather(*(pixels(slide, 0, *place) for place in places), return_exceptions=True)
            assert isinstance(found[5], CorruptData)
            assert str(tmp_path) not in str(found[5])
            with openslide.OpenSlide(tmp_path / "a.tif") as oracle:
                for at, (place, tile) in enumerate(zip(places, found, strict=True)):
                    if at != 5:
                        assert np.array_equal(tile, expected(oracle, 0, (64, 64), *place)[0])  # type: ignore[arg-type]
        await slide.close()

    async def test_one_new_handle_for_all_that_comes_after_a_broken_tile(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        opened: list[Path] = []
        real = module._opened  # pyright: ignore[reportPrivateUsage]

        def counted(path: Path, cache: openslide.OpenSlideCache) -> openslide.OpenSlide:
            opened.append(path)
            return real(path, cache)

        monkeypatch.setattr(module, "_opened", counted)
        (tmp_path / "a.tif").write_bytes(tiled(broken=5))
        slide = await OpenSlideFormat().open(await open_files(LocalStore(tmp_path), "a.tif"))
        with pytest.raises(CorruptData):
            await pixels(slide, 0, 1, 1)
        opened.clear()
        for column in range(4):
            await pixels(slide, 0, column, 3)
        assert len(opened) == 1
        await slide.close()

    async def test_what_does_not_exist(self, testdata: Path) -> None:
        name = "svs/CMU-1-Small-Region.svs"
        slide = await OpenSlideFormat().open(await open_files(LocalStore(testdata), name))
        for index in (TileIndex(1, 0, 0), TileIndex(0, 10, 0), TileIndex(0, -1, 0), TileIndex(0, 0, 0, z=1)):
            with pytest.raises(MicrotomeError):
                await slide.read_tile(index)
        with pytest.raises(NotFound):
            await slide.read_associated("nothing")
        await slide.close()


class TestVersions:
    async def test_a_file_replaced_while_it_is_open(self, tmp_path: Path) -> None:
        (tmp_path / "a.tif").write_bytes(tiled())
        slide = await OpenSlideFormat().open(await open_files(LocalStore(tmp_path), "a.tif"))
        await pixels(slide, 0, 0, 0)
        (tmp_path / "b").write_bytes(tiled())
        os.replace(tmp_path / "b", tmp_path / "a.tif")  # noqa: PTH105 - rename over, as careful writers do
        with pytest.raises(Conflict):
            await pixels(slide, 0, 1, 0)
        (tmp_path / "a.tif").unlink()
        with pytest.raises(Conflict):
            await pixels(slide, 0, 1, 0)
        await slide.close()

    async def test_a_file_replaced_before_it_is_opened(self, tmp_path: Path) -> None:
        (tmp_path / "a.tif").write_bytes(tiled())
        store = LocalStore(tmp_path)
        info = await store.head("a.tif")
        stale = PinnedObject(store, ObjectInfo("a.tif", info.size, "another", None), [(0, tiled()[:4096])])
        with pytest.raises(Conflict):
            await OpenSlideFormat().open(stale)

    async def test_a_dicom_file_replaced_before_its_folder_was_listed(self, testdata: Path, tmp_path: Path) -> None:
        data = (testdata / "dicom/wsi/sm_image.dcm").read_bytes()
        store = MemoryStore({"a/1.dcm": data})
        files = await open_files(store, "a/1.dcm", LocalCopies(tmp_path, BUDGET))
        store.put("a/1.dcm", data)
        with pytest.raises(Conflict):
            await OpenSlideFormat().open(files)

    async def test_recognised_again_by_what_is_kept_of_it(self, tmp_path: Path) -> None:
        """The directory of this file is behind the first 4096 bytes."""
        buffer = io.BytesIO()
        noise = np.random.default_rng(1).integers(0, 255, (64, 64, 3), np.uint8)
        with tifffile.TiffWriter(buffer) as writer:
            writer.write(noise, tile=(64, 64), software="Philips DP v1.0", metadata=None, description="x" * 8000)
        (tmp_path / "a.tiff").write_bytes(buffer.getvalue())
        store, kind = LocalStore(tmp_path), OpenSlideFormat()
        files = await open_files(store, "a.tiff")
        assert kind.recognises(files.head, "a.tiff")
        slide = await kind.open(files)
        await slide.close()
        assert isinstance(files, PinnedObject)
        again = PinnedObject.replay(store, files.header())
        assert kind.recognises(again.head, "a.tiff")
        assert again.header().nbytes <= 64 * 1024


async def test_the_tiff_reader_takes_what_openslide_cannot(tmp_path: Path) -> None:
    """A TIFF in strips with the suffix of a vendor."""
    tifffile.imwrite(tmp_path / "a.scn", np.zeros((64, 64, 3), np.uint8), metadata=None)
    formats = FormatRegistry([OpenSlideFormat(), TiffFormat()])
    files = await open_files(LocalStore(tmp_path), "a.scn")
    assert [each.name for each in formats.recognising(files)] == ["openslide", "tiff"]
    slide = await formats.open(files)
    assert (await slide.info()).size == (64, 64)
    await slide.close()
