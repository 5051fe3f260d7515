"""CZI files equal what was put into them, and what libCZI and fastslide see in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fastslide
import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray
from pylibCZIrw import czi as libczi

from microtome.errors import InvalidRequest, NotFound, UnsupportedFormat
from microtome.formats.base import Slide
from microtome.formats.czi import CziFormat
from microtome.model import EncodedTile, Raster, TileIndex
from microtome.storage.memory import MemoryStore
from microtome.storage.pinned import PinnedObject
from tests.unit.czi.czimaker import JPEG, JPEG_XR, LZW, UNCOMPRESSED, ZSTD0, ZSTD1, Block, czi, metadata

Pixels = NDArray[Any]


async def opened(data: bytes) -> tuple[Slide, MemoryStore]:
    store = MemoryStore({"a.czi": data})
    files = await PinnedObject.open(store, "a.czi")
    assert CziFormat().recognises(files.head, "a.czi")
    return await CziFormat().open(files), store


async def whole(slide: Slide, number: int = 0, z: int = 0, t: int = 0) -> Pixels:
    """All tiles of a level put together, padding cut off."""
    level = await slide.level(number)
    rows: list[Pixels] = []
    for row in range(level.rows):
        line: list[Pixels] = []
        for column in range(level.columns):
            tile = await slide.read_tile(TileIndex(number, column, row, z, t))
            assert isinstance(tile, Raster)
            assert tile.size == level.tile_size
            line.append(tile.array)
        rows.append(np.concatenate(line, axis=1))
    return np.concatenate(rows)[: level.size.height, : level.size.width]


def picture(height: int, width: int, samples: int, dtype: str = "uint8", seed: int = 0) -> Pixels:
    """Smooth enough for lossy compressions, different everywhere."""
    y, x = np.mgrid[0:height, 0:width]
    waves = [np.sin((x + 31 * n + 57 * seed) / 29) + np.cos((y * (n + 1) + 13 * seed) / 37) for n in range(samples)]
    top = {"uint8": 250, "uint16": 60000, "float32": 1}[dtype]
    return ((np.stack(waves, axis=-1) / 4 + 0.5) * top).astype(dtype)


def cut(image: Pixels, size: int, **common: Any) -> list[Block]:
    """A mosaic of an image without overlaps; ``x0``, ``y0`` and ``scale`` place it."""
    x0, y0, scale = common.pop("x0", 0), common.pop("y0", 0), common.get("scale", 1)
    return [
        Block(image[y : y + size, x : x + size], x0 + x * scale, y0 + y * scale, **common)
        for y in range(0, image.shape[0], size) for x in range(0, image.shape[1], size)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("compression", "samples", "dtype"),
    [
        (compression, samples, dtype)
        for compression in (UNCOMPRESSED, JPEG, JPEG_XR, ZSTD0, ZSTD1)
        for samples, dtype in ((1, "uint8"), (3, "uint8"), (1, "uint16"), (3, "uint16"), (1, "float32"))
        if dtype == "uint8" or compression not in {JPEG, JPEG_XR} or (compression, dtype) == (JPEG_XR, "uint16")
    ],
)
async def test_every_compression_of_every_pixel_type(compression: int, samples: int, dtype: str) -> None:
    image = picture(700, 900, samples, dtype)
    slide, _ = await opened(czi(cut(image, 300, compression=compression, x0=-50, y0=20), metadata()))
    info = await slide.info()
    assert (tuple(info.size), info.dtype, len(info.channels)) == ((900, 700), dtype, samples)
    assert info.spacing_um == pytest.approx((0.25, 0.25))
    assert info.magnification == 20
    found = await whole(slide)
    assert np.abs(found.astype(float) - image).max() <= (6 if compression == JPEG else 0)
    await slide.close()


async def test_high_and_low_bytes_that_stand_together() -> None:
    image = picture(100, 100, 1, "uint16")
    slide, _ = await opened(czi([Block(image, 0, 0, compression=ZSTD1, high_low=False)]))
    np.testing.assert_array_equal(await whole(slide), image)


async def test_stains_focal_planes_and_time_points(tmp_path: Path) -> None:
    blocks: list[Block] = []
    images: dict[tuple[int, int, int], Pixels] = {}
    for c in range(2):
        for z in range(3):
            for t in range(2):
                images[c, z, t] = picture(300, 600, 1, "uint16", seed=c + 2 * z + 6 * t)
                # Indices need not begin at 0.
                planes = {"C": c, "Z": z + 4, "T": t}
                blocks += cut(images[c, z, t], 256, compression=ZSTD1, planes=planes)
    data = czi(blocks, metadata([("DAPI", "#FF0000FF"), ("GFP", "#FF00FF00")]))
    slide, _ = await opened(data)
    info = await slide.info()
    assert [(each.name, each.color) for each in info.channels] == [("DAPI", 0x0000FF), ("GFP", 0x00FF00)]
    assert (info.focal_planes, info.time_points) == (3, 2)
    (tmp_path / "a.czi").write_bytes(data)
    with libczi.open_czi(str(tmp_path / "a.czi")) as oracle:
        for z in range(3):
            for t in range(2):
                found = await whole(slide, z=z, t=t)
                for c in range(2):
                    np.testing.assert_array_equal(found[:, :, c], images[c, z, t][:, :, 0])
                    seen = oracle.read(roi=(0, 0, 600, 300), plane={"C": c, "Z": z + 4, "T": t})
                    np.testing.assert_array_equal(found[:, :, c], seen[:, :, 0])
    for index, name in ((TileIndex(0, 0, 0, 3), "z"), (TileIndex(0, 0, 0, 0, 2), "t"), (TileIndex(1, 0, 0), "level")):
        with pytest.raises(InvalidRequest) as refused:
            await slide.read_tile(index)
        assert refused.value.parameter == name


async def test_a_plane_that_only_some_stains_have_is_dark_in_the_others() -> None:
    image = picture(100, 100, 1)
    slide, _ = await opened(czi([Block(image, 0, 0, planes={"C": 0, "Z": z}) for z in range(2)]
                                + [Block(image, 0, 0, planes={"C": 1, "Z": 0})]))  # fmt: skip
    found = await whole(slide, z=1)
    np.testing.assert_array_equal(found[:, :, 0], image[:, :, 0])
    assert not found[:, :, 1].any()


@pytest.mark.parametrize("factor", [2, 3])
async def test_pyramids(factor: int, tmp_path: Path) -> None:
    image = picture(1500, 2000, 3)
    blocks = cut(image, 500, compression=ZSTD0)
    for scale in (factor, factor**2):
        blocks += cut(image[::scale, ::scale], 400, compression=ZSTD0, scale=scale)
    data = czi(blocks, metadata())
    slide, _ = await opened(data)
    info = await slide.info()
    assert [level.downsample for level in info.levels] == [1.0, factor, factor**2]
    for number, scale in enumerate((1, factor, factor**2)):
        np.testing.assert_array_equal(await whole(slide, number), image[::scale, ::scale])
    if factor == 2:
        (tmp_path / "a.czi").write_bytes(data)
        oracle = fastslide.FastSlide.from_file_path(tmp_path / "a.czi")
        for number in range(3):
            size = (info.levels[number].size.width, info.levels[number].size.height)
            seen = oracle.read_region((0, 0), number, size).numpy()
            np.testing.assert_array_equal(await whole(slide, number), seen)


async def test_overlaps_are_drawn_in_the_order_of_the_mosaic(tmp_path: Path) -> None:
    order = [3, 0, 2, 1]
    blocks = [
        Block(picture(300, 300, 1, seed=n), 200 * n, 100 * (n % 2), compression=JPEG_XR, mosaic=order[n])
        for n in range(4)
    ]
    data = czi(blocks, metadata())
    slide, _ = await opened(data)
    (tmp_path / "a.czi").write_bytes(data)
    with libczi.open_czi(str(tmp_path / "a.czi")) as oracle:
        seen = oracle.read(roi=(0, 0, 900, 400), plane={"C": 0})
    np.testing.assert_array_equal(await whole(slide), seen)


async def test_scenes_stand_where_they_stood_on_the_glass(tmp_path: Path) -> None:
    """One of them has no coarse level; it must not vanish from it."""
    large, small = picture(800, 800, 3), picture(300, 200, 3, seed=5)
    blocks = cut(large, 400, compression=ZSTD0, planes={"S": 0}, x0=1000, y0=1000)
    blocks += cut(large[::2, ::2], 400, compression=ZSTD0, planes={"S": 0}, scale=2, x0=1000, y0=1000)
    blocks += cut(small, 400, compression=ZSTD0, planes={"S": 1}, x0=2000, y0=1900)
    data = czi(blocks, metadata())
    slide, _ = await opened(data)
    info = await slide.info()
    assert [tuple(level.size) for level in info.levels] == [(1200, 1200), (600, 600)]
    found = await whole(slide)
    np.testing.assert_array_equal(found[:800, :800], large)
    np.testing.assert_array_equal(found[900:, 1000:], small)
    assert (found[800:900] == 255).all()
    coarse = await whole(slide, 1)
    np.testing.assert_array_equal(coarse[:400, :400], large[::2, ::2])
    np.testing.assert_array_equal(coarse[450:, 500:], small[::2, ::2])
    assert (coarse[:400, 500:] == 255).all()
    (tmp_path / "a.czi").write_bytes(data)
    with libczi.open_czi(str(tmp_path / "a.czi")) as oracle:
        seen = oracle.read(roi=(1000, 1000, 1200, 1200), plane={"C": 0}, background_pixel=(1.0, 1.0, 1.0))
    np.testing.assert_array_equal(found, seen[:, :, ::-1])


@pytest.mark.parametrize(
    "compression", ["uncompressed:", "zstd0:ExplicitLevel=2", "zstd1:ExplicitLevel=2;PreProcess=HiLoByteUnpack"]
)
@pytest.mark.parametrize(("samples", "dtype"), [(1, "uint16"), (3, "uint8")])
async def test_files_that_zeiss_wrote(compression: str, samples: int, dtype: str, tmp_path: Path) -> None:
    path = tmp_path / "a.czi"
    images = [picture(400, 500, samples, dtype, seed=n) for n in range(4)]
    with libczi.create_czi(str(path), compression_options=compression) as writer:
        for number, image in enumerate(images):
            plane = {"C": 0, "Z": number % 2, "T": 0}
            writer.write(image[..., ::-1] if samples == 3 else image, location=(700 * (number // 2), -30), plane=plane,
                         scene=number // 2)  # fmt: skip
        writer.write_metadata("x", channel_names={0: "Cy5"}, scale_x=0.5e-6, scale_y=0.4e-6)
    slide, _ = await opened(path.read_bytes())
    info = await slide.info()
    assert info.spacing_um == pytest.approx((0.5, 0.4))
    assert info.channels[0].name == ("Cy5" if samples == 1 else "R")
    assert (tuple(info.size), info.focal_planes) == ((1200, 400), 2)
    for z in range(2):
        found = await whole(slide, z=z)
        np.testing.assert_array_equal(found[:, :500], images[z])
        np.testing.assert_array_equal(found[:, 700:], images[2 + z])


async def test_colours_of_jpeg_xr_are_as_libczi_sees_them(tmp_path: Path) -> None:
    """Writers name the order of samples BGR, which encoders of other libraries do not."""
    image = picture(200, 200, 3)
    rgb, bgr = (bytes.fromhex("24c3dd6f034efe4bb1853d77768dc9") + last for last in (b"\x0d", b"\x0c"))
    payload = bytes(imagecodecs.jpegxr_encode(image, level=1.0)).replace(rgb, bgr)
    assert bgr in payload
    data = czi([Block(image, 0, 0, compression=JPEG_XR, payload=payload)], metadata())
    slide, _ = await opened(data)
    (tmp_path / "a.czi").write_bytes(data)
    with libczi.open_czi(str(tmp_path / "a.czi")) as oracle:
        seen = oracle.read(roi=(0, 0, 200, 200), plane={"C": 0})
    np.testing.assert_array_equal(await whole(slide), seen[:, :, ::-1])


async def test_label_preview_and_thumbnail() -> None:
    label, preview, thumb = picture(60, 80, 3), picture(50, 120, 3, seed=2), picture(20, 30, 3, seed=3)
    jpeg = bytes(imagecodecs.jpeg8_encode(thumb, level=95))
    data = czi(
        [Block(picture(100, 100, 3), 0, 0)], metadata(),
        [("Label", "CZI", czi([Block(label, 5, 7, compression=JPEG_XR)])),
         ("SlidePreview", "CZI", czi([Block(preview, 0, 0)])),
         ("Thumbnail", "JPG", jpeg), ("EventList", "CZEVL", b"xxxx"), ("Label", "CZI", b"broken")],
    )  # fmt: skip
    slide, _ = await opened(data)
    info = await slide.info()
    assert {each.name: tuple(each.size) for each in info.associated} == {
        "label": (80, 60), "macro": (120, 50), "thumbnail": (30, 20),
    }  # fmt: skip
    found = await slide.read_associated("label")
    assert isinstance(found, Raster)
    np.testing.assert_array_equal(found.array, label)
    found = await slide.read_associated("thumbnail")
    assert isinstance(found, EncodedTile)
    assert found.data == jpeg
    with pytest.raises(NotFound):
        await slide.read_associated("EventList")


async def test_a_tile_reads_only_its_blocks_and_neighbours_share_them() -> None:
    image = picture(2048, 2048, 3)
    noise = np.random.default_rng(0).integers(0, 255, image.shape, np.uint8)
    slide, store = await opened(czi(cut(noise, 1024), metadata()))
    requests, read = store.requests, store.bytes_read
    await slide.read_tile(TileIndex(0, 1, 1))
    assert store.requests - requests == 1
    assert store.bytes_read - read == 1024 * 1024 * 3 + 32 + 256
    await slide.read_tile(TileIndex(0, 0, 1))
    assert store.requests - requests == 1
    slide.prefetch([TileIndex(0, 3, 3), TileIndex(0, 99, 0), TileIndex(7, 0, 0), TileIndex(0, 0, 0, 5)])
    assert slide.peek_tile(TileIndex(0, 1, 1)) is None
    await slide.close()


async def test_what_is_not_read_is_named() -> None:
    image = picture(10, 10, 1)
    slide, _ = await opened(czi([Block(image, 0, 0, compression=LZW, payload=b"xxxx")]))
    with pytest.raises(UnsupportedFormat) as refused:
        await slide.read_tile(TileIndex(0, 0, 0))
    assert refused.value.feature == "compression LZW"
    with pytest.raises(UnsupportedFormat) as refused:
        await opened(czi([Block(image, 0, 0, pixel_type=10)]))
    assert refused.value.feature == "pixel type 10"
    assert not CziFormat().recognises(b"II*\0", "a.czi")
