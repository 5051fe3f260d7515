"""Every tile of images written by zarr-python is what zarr-python reads back."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
import zarr.codecs
from numpy.typing import NDArray

from microtome.errors import InvalidRequest, NotFound
from microtome.formats.base import FolderFormat
from microtome.formats.ngff import NgffFormat
from microtome.formats.ngff.slide import NgffSlide
from microtome.formats.registry import FormatRegistry
from microtome.model import Channel, Raster, Size, TileIndex
from microtome.storage.folder import PinnedFolder
from microtome.storage.local import LocalStore
from tests.unit.ngff.images import attributes, opened, pyramid, samples, stored, write

SIDES = {"t": 2, "c": 3, "z": 4, "y": 150, "x": 130}
BLOSC = {"compressors": zarr.codecs.BloscCodec(cname="lz4", shuffle="bitshuffle")}


def oracle(array: Any, axes: str, z: int, t: int) -> NDArray[Any]:
    """The plane (height, width, channels) of an array as zarr-python reads it."""
    whole = np.asarray(array[...])
    for axis, place in (("t", t), ("z", z)):
        if axis in axes:
            at = axes.index(axis)
            whole, axes = whole.take(place, axis=at), axes[:at] + axes[at + 1 :]
    if "c" not in axes:
        whole, axes = whole[..., np.newaxis], axes + "c"
    return whole.transpose([axes.index(axis) for axis in "yxc"])


async def check(slide: NgffSlide, arrays: list[Any], axes: str) -> int:
    """Compare all tiles of all planes of all levels; how many there were."""
    info = await slide.info()
    assert len(info.levels) == len(arrays)
    count = 0
    for z in range(info.focal_planes):
        for t in range(info.time_points):
            for number, (level, array) in enumerate(zip(info.levels, arrays, strict=True)):
                plane = oracle(array, axes, z, t)
                assert plane.shape[:2] == (level.size.height, level.size.width)
                for row in range(level.rows):
                    for column in range(level.columns):
                        tile = await slide.read_tile(TileIndex(number, column, row, z, t))
                        assert isinstance(tile, Raster)
                        assert tile.array.dtype == plane.dtype.newbyteorder("=") == np.dtype(info.dtype)
                        assert tile.channels == tuple(channel.name for channel in info.channels)
                        y, x = row * level.tile_size.height, column * level.tile_size.width
                        expected = plane[y : y + level.tile_size.height, x : x + level.tile_size.width]
                        np.testing.assert_array_equal(tile.array, expected)
                        count += 1
    return count


def orders() -> list[str]:
    """Every subset of t, c and z before y and x, in the order of the standard, and some others."""
    usual = ["".join(a for a in "tczyx" if a in s or a in "yx") for s in ("", "t", "c", "z", "tc", "tz", "cz", "tcz")]
    return [*usual, "yxc", "zcyx", "xy", "cxy", "zyxtc", *("".join(p) for p in permutations("cyx") if p[0] != "c")]


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("axes", orders())
async def test_every_order_of_axes(axes: str, version: int, tmp_path: Path) -> None:
    shape = [SIDES[axis] for axis in axes]
    chunks = [64 if axis in "yx" else 2 for axis in axes]
    write(tmp_path / "i", pyramid(shape, axes), axes, version=version, chunks=chunks)
    slide = await opened(stored(tmp_path / "i"))
    info = await slide.info()
    assert info.focal_planes == (4 if "z" in axes else 1)
    assert info.time_points == (2 if "t" in axes else 1)
    assert len(info.channels) == (3 if "c" in axes else 1)
    assert info.levels[0].tile_size == Size(64, 64)
    assert await check(slide, [zarr.open_array(tmp_path / "i" / str(n)) for n in range(3)], axes) >= 3


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64"])
@pytest.mark.parametrize("version", [2, 3])
async def test_samples_come_as_stored(dtype: str, version: int, tmp_path: Path) -> None:
    write(tmp_path / "i", pyramid((2, 100, 90), "cyx", dtype=dtype), "cyx", version=version, chunks=(1, 64, 64))
    slide = await opened(stored(tmp_path / "i"))
    await check(slide, [zarr.open_array(tmp_path / "i" / str(n)) for n in range(3)], "cyx")


def codecs() -> list[Any]:
    from numcodecs import BZ2, LZ4, LZMA, Blosc, Delta, GZip, Shuffle, Zlib, Zstd

    v2 = {
        "none": {"compressors": None},
        **{
            f"blosc-{name}-{shuffle}": {"compressors": Blosc(cname=name, shuffle=shuffle)}
            for name in ("lz4", "lz4hc", "zstd", "zlib", "blosclz")
            for shuffle in (0, 1, 2)
        },
        "zlib": {"compressors": Zlib()},
        "gzip": {"compressors": GZip()},
        "zstd": {"compressors": Zstd()},
        "zstd-checksum": {"compressors": Zstd(checksum=True)},
        "lz4": {"compressors": LZ4()},
        "bz2": {"compressors": BZ2()},
        "lzma": {"compressors": LZMA()},
        "delta": {"compressors": Zlib(), "filters": [Delta("<u2")]},
        "shuffle": {"compressors": Zstd(), "filters": [Shuffle(2)]},
        "both": {"compressors": LZ4(), "filters": [Delta("<u2"), Shuffle(2)]},
        "fortran": {"compressors": Zlib(), "order": "F"},
        "slash": {"compressors": Zlib(), "chunk_key_encoding": {"name": "v2", "separator": "/"}},
        "dot": {"compressors": Zlib(), "chunk_key_encoding": {"name": "v2", "separator": "."}},
        "big": {"compressors": Zlib(), "big": True},
    }
    c = zarr.codecs
    v3 = {
        "none": {"compressors": None},
        "blosc": BLOSC,
        "gzip": {"compressors": c.GzipCodec()},
        "zstd": {"compressors": c.ZstdCodec(level=3)},
        "zstd-crc": {"compressors": [c.ZstdCodec(level=3), c.Crc32cCodec()]},
        "crc-zstd": {"compressors": [c.Crc32cCodec(), c.ZstdCodec(level=3)]},
        "big": {"compressors": c.GzipCodec(), "serializer": c.BytesCodec(endian="big")},
        "transpose": {"filters": c.TransposeCodec(order=(2, 0, 1))},
        "transpose-twice": {"filters": [c.TransposeCodec(order=(2, 0, 1)), c.TransposeCodec(order=(1, 0, 2))]},
        "v2-keys": {"chunk_key_encoding": {"name": "v2", "separator": "."}},
        "dot-keys": {"chunk_key_encoding": {"name": "default", "separator": "."}},
        "shards": {"shards": (2, 128, 128)},
        "shards-blosc": {"shards": (2, 128, 192), **BLOSC},
        "shards-transpose": {"shards": (2, 128, 128), "filters": c.TransposeCodec(order=(2, 0, 1))},
        "shards-start": {"serializer": c.ShardingCodec(chunk_shape=(1, 64, 64), index_location="start"),
                         "compressors": None, "outer": (2, 128, 128)},
        "shards-bare-index": {"serializer": c.ShardingCodec(chunk_shape=(1, 64, 64), index_codecs=[c.BytesCodec()]),
                              "compressors": None, "outer": (2, 128, 128)},
    }  # fmt: skip
    return [pytest.param(2, o, id=f"v2-{n}") for n, o in v2.items()] + [
        pytest.param(3, o, id=f"v3-{n}") for n, o in v3.items()
    ]


@pytest.mark.parametrize(("version", "options"), codecs())
async def test_every_codec(version: int, options: dict[str, Any], tmp_path: Path) -> None:
    options = dict(options)
    levels = pyramid((2, 200, 170), "cyx")
    if options.pop("big", False):
        levels = [level.astype(">u2") for level in levels]
    chunks = options.pop("outer", (1, 64, 64))
    write(tmp_path / "i", levels, "cyx", version=version, chunks=chunks, **options)
    slide = await opened(stored(tmp_path / "i"))
    assert (await slide.info()).levels[0].tile_size == Size(64, 64)
    await check(slide, [zarr.open_array(tmp_path / "i" / str(n)) for n in range(3)], "cyx")


@pytest.mark.parametrize(
    ("shape", "chunks", "tile"),
    [
        ((2, 2, 2, 200, 190), (1, 1, 1, 64, 64), Size(64, 64)),
        ((2, 3, 4, 700, 600), (1, 3, 4, 256, 100), Size(100, 256)),
        ((1, 2, 1, 350, 300), (2, 1, 1, 30, 48), Size(288, 270)),
        ((1, 2, 1, 700, 600), (1, 1, 1, 4096, 2049), Size(512, 512)),
    ],
)
async def test_tiles_follow_chunks(shape: tuple[int, ...], chunks: tuple[int, ...], tile: Size, tmp_path: Path) -> None:
    write(tmp_path / "i", pyramid(shape, "tczyx", levels=2), "tczyx", chunks=chunks)
    slide = await opened(stored(tmp_path / "i"))
    assert (await slide.info()).levels[0].tile_size == tile
    await check(slide, [zarr.open_array(tmp_path / "i" / str(n)) for n in range(2)], "tczyx")


@pytest.mark.parametrize("fill", [0, 7, 65535])
@pytest.mark.parametrize("shards", [None, (1, 128, 128)])
async def test_chunks_never_written_are_fill_value(fill: int, shards: Any, tmp_path: Path) -> None:
    data = np.full((2, 256, 256), fill, "uint16")
    data[1, 70:100, 130:200] = samples((30, 70))
    write(tmp_path / "i", [data], "cyx", version=3, chunks=(1, 64, 64), shards=shards, fill_value=fill)
    slide = await opened(stored(tmp_path / "i"))
    await check(slide, [data], "cyx")


@pytest.mark.parametrize("fill", ["NaN", "Infinity", "-Infinity", 1.5])
@pytest.mark.parametrize("version", [2, 3])
async def test_fill_values_of_floats(fill: Any, version: int, tmp_path: Path) -> None:
    write(
        tmp_path / "i", [np.full((64, 64), float(fill), "float32")], "yx", version=version, chunks=(64, 64),
        fill_value=float(fill),
    )  # fmt: skip
    store = stored(tmp_path / "i")
    tile = await (await opened(store)).read_tile(TileIndex(0, 0, 0))
    assert isinstance(tile, Raster)
    np.testing.assert_array_equal(tile.array, np.full((64, 64, 1), float(fill), "float32"))


async def test_any_factor_and_any_path(tmp_path: Path) -> None:
    levels = [samples((400, 300)), samples((133, 100), seed=2), samples((50, 37), seed=3)]
    write(tmp_path / "i", levels, "yx", chunks=(64, 64), paths=["full", "scale/third", "s2"])
    slide = await opened(stored(tmp_path / "i"))
    info = await slide.info()
    assert [level.downsample for level in info.levels] == pytest.approx([1, (3 + 400 / 133) / 2, (300 / 37 + 8) / 2])
    await check(slide, list(levels), "yx")


async def test_coarse_levels_may_have_fewer_planes(tmp_path: Path) -> None:
    levels = [samples((8, 100, 100)), samples((4, 50, 50), seed=2), samples((3, 25, 25), seed=3)]
    write(tmp_path / "i", levels, "zyx", chunks=(1, 64, 64))
    slide = await opened(stored(tmp_path / "i"))
    assert (await slide.info()).focal_planes == 8
    for z, planes in enumerate([(0, 0), (0, 0), (1, 0), (1, 1), (2, 1), (2, 2), (3, 2), (3, 2)]):
        for number, plane in enumerate(planes, 1):
            tile = await slide.read_tile(TileIndex(number, 0, 0, z))
            assert isinstance(tile, Raster)
            np.testing.assert_array_equal(tile.array[..., 0], levels[number][plane])


async def test_names_colours_and_windows(tmp_path: Path) -> None:
    omero = {
        "channels": [
            {"label": "DAPI", "color": "0000FF", "window": {"start": 10, "end": 900.5, "min": 0, "max": 65535}},
            {"color": "#00ff00", "active": True},
            {"label": "CD8", "color": "no colour"},
        ]
    }
    write(
        tmp_path / "i", [samples((4, 80, 80))], "cyx", chunks=(1, 64, 64), ome=attributes("cyx", ["0"], omero=omero)
    )  # fmt: skip
    info = await (await opened(stored(tmp_path / "i"))).info()
    assert info.channels == (
        Channel("DAPI", 0x0000FF), Channel("Channel 1", 0x00FF00), Channel("CD8"), Channel("Channel 3"),
    )  # fmt: skip
    assert info.properties["omero.channels[0].window.end"] == "900.5"
    assert info.properties["omero.channels[1].active"] == "true"
    assert info.format_name == "OME-Zarr 0.4"


async def test_colour_images_have_r_g_b(tmp_path: Path) -> None:
    omero = {"channels": [{"label": name, "color": c} for name, c in (("Red", "FF0000"), ("Green", ""), ("Blue", ""))]}
    ome = attributes("cyx", ["0"], omero=omero)
    write(tmp_path / "i", [samples((3, 80, 80), "uint8")], "cyx", chunks=(3, 64, 64), ome=ome)
    info = await (await opened(stored(tmp_path / "i"))).info()
    assert [channel.name for channel in info.channels] == ["R", "G", "B"]


@pytest.mark.parametrize(
    ("unit", "factor"),
    [("micrometer", 1), ("nanometer", 1e-3), ("millimeter", 1e3), ("centimeter", 1e4), ("meter", 1e6),
     ("angstrom", 1e-4), ("inch", 25400), ("µm", 1), ("second", None), ("", None)],
)  # fmt: skip
async def test_spacing(unit: str, factor: float | None, tmp_path: Path) -> None:
    axes = [{"name": axis, "type": "space", "unit": unit} for axis in "yx"]
    ome = attributes("yx", ["0"], multiscale={"axes": axes})
    ome["multiscales"][0]["coordinateTransformations"] = [{"type": "scale", "scale": [2.0, 4.0]}]
    write(tmp_path / "i", [samples((80, 80))], "yx", chunks=(64, 64), ome=ome)
    spacing = (await (await opened(stored(tmp_path / "i"))).info()).spacing_um
    assert spacing == (None if factor is None else pytest.approx((0.25 * 4 * factor, 0.5 * 2 * factor)))


async def test_old_versions_without_axes(tmp_path: Path) -> None:
    data = samples((2, 3, 4, 80, 80))
    write(
        tmp_path / "i", [data], "tczyx", chunks=(1, 1, 1, 64, 64), ome={"multiscales": [{"datasets": [{"path": "0"}]}]}
    )
    slide = await opened(stored(tmp_path / "i"))
    assert (await slide.info()).spacing_um is None
    await check(slide, [data], "tczyx")


async def test_collections_show_their_first_image(tmp_path: Path) -> None:
    levels = pyramid((100, 100), "yx")
    zarr.open_group(tmp_path / "i", mode="w", zarr_format=2, attributes={"bioformats2raw.layout": 3})
    write(tmp_path / "i" / "0", levels, "yx", chunks=(64, 64))
    await check(await opened(stored(tmp_path / "i")), list(levels), "yx")


async def test_from_disk_through_the_registry(tmp_path: Path) -> None:
    levels = pyramid((3, 200, 170), "cyx")
    write(tmp_path / "case" / "slide.ome.zarr", levels, "cyx", version=3, chunks=(1, 64, 64), shards=(1, 128, 128))
    registry = FormatRegistry([NgffFormat()])
    folder = await PinnedFolder.open(LocalStore(tmp_path), "case/slide.ome.zarr")
    slide = await registry.open(folder)
    assert isinstance(slide, NgffSlide)
    assert isinstance(NgffFormat(), FolderFormat)
    await check(slide, list(levels), "cyx")
    await slide.close()


async def test_a_cut_listing_still_finds_everything(tmp_path: Path) -> None:
    """``zarr.json`` sorts behind the chunks; what the listing lacks is asked by name."""
    data = np.zeros((3, 200, 170), "uint16")
    data[:, 60:70, :100] = samples((3, 10, 100))
    for name, shards in (("plain", None), ("sharded", (1, 128, 128))):
        write(tmp_path / name, [data], "cyx", version=3, chunks=(1, 64, 64), shards=shards, fill_value=0)
        store = stored(tmp_path / name)
        folder = await PinnedFolder.open(store, "slide.zarr", most=1)
        assert not folder.complete
        assert NgffFormat().recognises_folder(list(folder.entries))
        await check(await opened(store, most=1), [data], "cyx")


@pytest.mark.parametrize(
    ("index", "parameter"),
    [(TileIndex(3, 0, 0), "level"), (TileIndex(0, 9, 0), "tile"), (TileIndex(0, 0, 0, 4), "z"),
     (TileIndex(0, 0, 0, 0, 2), "t"), (TileIndex(0, 0, 0, -1), "z")],
)  # fmt: skip
async def test_what_does_not_exist(index: TileIndex, parameter: str, tmp_path: Path) -> None:
    write(tmp_path / "i", pyramid((2, 4, 100, 100), "tzyx"), "tzyx", chunks=(1, 1, 64, 64))
    slide = await opened(stored(tmp_path / "i"))
    with pytest.raises(InvalidRequest) as caught:
        await slide.read_tile(index)
    assert caught.value.parameter == parameter
    slide.prefetch([index])
    assert slide.peek_tile(index) is None
    with pytest.raises(NotFound):
        await slide.read_associated("label")


@pytest.mark.parametrize(
    ("names", "expected"),
    [([".zattrs", ".zgroup", "0/.zarray"], True), (["0/c/0/0", "0/c/0/1"], True), (["0/zarr.json", "zarr.json"], True),
     (["0/0/0.pbf", "1/0/0.pbf"], False), (["a.dcm"], False), ([], False)],
)  # fmt: skip
def test_recognised(names: list[str], expected: bool) -> None:
    assert NgffFormat().recognises_folder(names) is expected
    assert not NgffFormat().recognises(b"", "slide.zarr")
