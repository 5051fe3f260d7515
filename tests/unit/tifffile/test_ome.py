"""OME-TIFF: every plane of every level is what tifffile reads; names, colours and sizes are those of the XML."""

from __future__ import annotations

import io
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from microtome.errors import CorruptData, InvalidRequest, NotFound
from microtome.model import Channel, EncodedTile, Raster, Size, TileIndex
from microtome.storage.local import LocalStore
from microtome.storage.memory import MemoryStore
from tests.unit.tifffile.files import compare, ome, opened, read, samples, series

SIDES = {"T": 2, "C": 3, "Z": 4}
TILED: dict[str, Any] = {"tile": (64, 64)}


@pytest.mark.parametrize("axes", ["".join(p) + "YX" for n in range(4) for p in permutations("TCZ", n)])
@pytest.mark.parametrize("options", [TILED, {"rowsperstrip": 9}], ids=["tiles", "strips"])
async def test_every_order_of_axes(axes: str, options: dict[str, Any]) -> None:
    shape = [SIDES[axis] for axis in axes[:-2]]
    data = samples((*shape, 150, 130))
    levels = [samples((*shape, 75, 65), seed=2), samples((*shape, 38, 33), seed=3)]
    file = ome(data, axes, levels, **options)
    slide = await opened(file)
    info = await compare(slide, series(file))
    assert info.focal_planes == (4 if "Z" in axes else 1)
    assert info.time_points == (2 if "T" in axes else 1)
    assert len(info.channels) == (3 if "C" in axes else 1)
    assert [level.downsample for level in info.levels] == pytest.approx([1, 2, (150 / 38 + 130 / 33) / 2])
    await slide.close()


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64"])
@pytest.mark.parametrize("byteorder", ["<", ">"])
async def test_samples_come_as_stored(dtype: str, byteorder: Any) -> None:
    data = samples((2, 150, 130), dtype)
    ways: list[dict[str, Any]] = [TILED, {"compression": "zlib", "predictor": True}, {"rowsperstrip": 7}, {}]
    for options in ways:
        file = io.BytesIO()
        tifffile.imwrite(
            file, data, ome=True, byteorder=byteorder, photometric="minisblack", metadata={"axes": "CYX"}, **options
        )
        slide = await opened(file.getvalue())
        await compare(slide, series(file.getvalue()))
        await slide.close()


COMPRESSIONS = ["none", "lzw", "zlib", "zstd", "lzma", "packbits", "jpeg", "jpeg2000", "webp"]


@pytest.mark.parametrize("layout", ["tiles", "strips"])
@pytest.mark.parametrize(
    ("compression", "planar"),
    [(c, p) for c in COMPRESSIONS for p in ("contig", "separate") if (c, p) != ("webp", "separate")],
)
async def test_colour_in_every_compression(compression: str, layout: str, planar: str) -> None:
    data = np.kron(samples((10, 9, 3), "uint8"), np.ones((16, 16, 1), "uint8"))
    if planar == "separate":
        data = np.moveaxis(data, -1, 0)
    options: dict[str, Any] = {"tile": (64, 64)} if layout == "tiles" else {"rowsperstrip": 48}
    if compression in {"jpeg2000", "webp"}:
        options["compressionargs"] = {"level": 0} if compression == "jpeg2000" else {"lossless": True}
    file = ome(
        data, "YXS" if planar == "contig" else "SYX", photometric="rgb", planarconfig=planar, compression=compression,
        **options,
    )  # fmt: skip
    slide = await opened(file)
    info = await compare(slide, series(file), tolerance=3 if compression == "jpeg" else 0)
    assert [channel.name for channel in info.channels] == ["R", "G", "B"]
    await slide.close()


async def test_stored_jpeg_tiles_pass_untouched() -> None:
    file = ome(samples((200, 200, 3), "uint8"), "YXS", photometric="rgb", compression="jpeg", tile=(64, 64))
    slide = await opened(file)
    tile = await slide.read_tile(TileIndex(0, 1, 1))
    assert isinstance(tile, EncodedTile)
    assert tile.size == Size(64, 64)
    with tifffile.TiffFile(io.BytesIO(file)) as oracle:
        page: Any = oracle.pages[0]
        stored = file[page.dataoffsets[5] : page.dataoffsets[5] + page.databytecounts[5]]
    assert stored[stored.index(b"\xff\xda") :].startswith(tile.data[tile.data.index(b"\xff\xda") :])
    await slide.close()


async def test_colour_with_planes_and_levels() -> None:
    data = samples((3, 2, 150, 130, 3), "uint8")
    levels = [samples((3, 2, 75, 65, 3), "uint8", seed=2)]
    file = ome(data, "TZYXS", levels, photometric="rgb", tile=(64, 64), compression="zlib")
    slide = await opened(file)
    info = await compare(slide, series(file))
    assert (info.time_points, info.focal_planes) == (3, 2)
    assert [channel.name for channel in info.channels] == ["R", "G", "B"]
    await slide.close()


async def test_several_channels_of_several_samples() -> None:
    file = ome(samples((2, 100, 90, 3), "uint8"), "CYXS", photometric="rgb", tile=(64, 64))
    slide = await opened(file)
    info = await compare(slide, series(file))
    assert len(info.channels) == 6
    await slide.close()


async def test_alpha_is_left_out() -> None:
    file = ome(samples((100, 90, 4), "uint8"), "YXS", photometric="rgb", extrasamples=["unassalpha"], tile=(64, 64))
    slide = await opened(file)
    assert len((await compare(slide, series(file))).channels) == 3
    await slide.close()


async def test_names_and_colours() -> None:
    xml = described(channels=[
        '<Channel ID="Channel:0:0" Name="DAPI" Color="65535"/>',  # 0x0000FFFF: blue, opaque
        '<Channel ID="Channel:0:1" Name="CD8 &amp; ✓" Color="-16776961"/>',  # 0xFF0000FF: red, opaque
        '<Channel ID="Channel:0:2"/>',
        '<Channel ID="Channel:0:3" Color="9999999999999"/>',
    ])  # fmt: skip
    slide = await opened(with_xml(xml, 4))
    assert (await slide.info()).channels == (
        Channel("DAPI", 0x0000FF), Channel("CD8 & ✓", 0xFF0000), Channel("Channel 2"), Channel("Channel 3"),
    )  # fmt: skip
    await slide.close()


def described(
    pixels: str = "", channels: list[str] | None = None, data: str = "<TiffData/>", c: int = 4, **changed: str
) -> str:
    """OME-XML of an image of 40 x 30 px."""
    told = channels if channels is not None else [f'<Channel ID="Channel:0:{n}"/>' for n in range(c)]
    axes = {"SizeZ": "1", "SizeT": "1", "DimensionOrder": "XYCZT"} | changed
    sides = " ".join(f'{name}="{value}"' for name, value in axes.items())
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:own">'
        '<Instrument ID="Instrument:0"><Objective ID="Objective:0" NominalMagnification="20"/></Instrument>'
        '<Image ID="Image:0" Name="x"><ObjectiveSettings ID="Objective:0"/>'
        f'<Pixels ID="Pixels:0" Type="uint16" SizeX="40" SizeY="30" SizeC="{c}"'
        f" {sides} {pixels}>{''.join(told)}{data}</Pixels></Image></OME>"
    )


def with_xml(xml: str, pages: int, seed: int = 1) -> bytes:
    """Pages of 40 x 30 px with an XML of one's own."""
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        for number in range(pages):
            writer.write(
                samples((30, 40), seed=seed + number), metadata=None, description=xml.encode() if number == 0 else None
            )
    return file.getvalue()


@pytest.mark.parametrize(
    ("unit", "micrometres"),
    [(None, 1.0), ("µm", 1.0), ("nm", 1e-3), ("mm", 1e3), ("cm", 1e4), ("m", 1e6), ("pm", 1e-6), ("Å", 1e-4),
     ("in", 25400.0), ("thou", 25.4), ("pt", 25400 / 72), ("ft", 304800.0), ("km", 1e9), ("dm", 1e5),
     ("pixel", None), ("reference frame", None), ("furlong", None)],
)  # fmt: skip
async def test_physical_sizes_in_every_unit(unit: str | None, micrometres: float | None) -> None:
    told = f' PhysicalSizeXUnit="{unit}" PhysicalSizeYUnit="{unit}"' if unit else ""
    slide = await opened(with_xml(described(f'PhysicalSizeX="0.25" PhysicalSizeY="0.5"{told}'), 4))
    info = await slide.info()
    expected = None if micrometres is None else pytest.approx((0.25 * micrometres, 0.5 * micrometres))
    assert info.spacing_um == expected
    assert info.magnification == 20
    assert info.format_name == "OME-TIFF"
    await slide.close()


@pytest.mark.parametrize("order", ["XY" + "".join(p) for p in permutations("CZT")])
async def test_planes_are_where_the_tiff_data_say(order: str) -> None:
    """Directories in any order, planes counted from the middle of the image."""
    data = '<TiffData IFD="3" PlaneCount="3"/><TiffData FirstC="1" FirstZ="0" FirstT="1" IFD="0" PlaneCount="2"/>'
    xml = described(data=data, c=2, SizeZ="2", SizeT="2", DimensionOrder=order)
    lengths = {"C": 2, "Z": 2, "T": 2}
    expected: dict[tuple[int, int, int], int] = {}
    for start, count, ifd in (((0, 0, 0), 3, 3), ((1, 0, 1), 2, 0)):
        at = dict(zip("CZT", start, strict=True))
        first = sum(at[a] * 2 ** order[2:].index(a) for a in "CZT")
        for number in range(first, first + count):
            found = {a: number >> order[2:].index(a) & 1 for a in lengths}
            expected.setdefault((found["C"], found["Z"], found["T"]), -1)
            expected[found["C"], found["Z"], found["T"]] = ifd + number - first
    slide = await opened(with_xml(xml, 6))
    for z in range(2):
        for t in range(2):
            tile = await read(slide, TileIndex(0, 0, 0, z, t))
            for c in range(2):
                ifd = expected.get((c, z, t))
                wanted = np.zeros((30, 40)) if ifd is None else samples((30, 40), seed=1 + ifd)
                np.testing.assert_array_equal(tile.array[..., c], wanted)
    await slide.close()


def file_set(xml: str | None = None) -> dict[str, bytes]:
    """Two files of two channels; the second file only says which set it is of."""
    uuid = '<UUID FileName="{}">urn:uuid:{}</UUID>'
    data = "".join(
        f'<TiffData FirstC="{c}" IFD="{c % 2}" PlaneCount="1">{uuid.format(f"{n}.ome.tif", n)}</TiffData>'
        for c, n in enumerate(("own", "own", "other", "other"))
    )
    told = xml or described(data=data)
    return {
        "case/own.ome.tif": with_xml(told, 2),
        "case/other.ome.tif": with_xml(told.replace("urn:uuid:own", "urn:uuid:other", 1), 2, seed=3),
    }


@pytest.mark.parametrize("key", ["case/own.ome.tif", "case/other.ome.tif"])
async def test_file_sets_from_a_bucket(key: str) -> None:
    slide = await opened(file_set(), key)
    tile = await read(slide, TileIndex(0, 0, 0))
    expected = np.stack([samples((30, 40), seed=n) for n in range(1, 5)], axis=2)
    np.testing.assert_array_equal(tile.array, expected)
    await slide.close()


async def test_a_renamed_main_file_is_still_itself() -> None:
    files = file_set()
    files["case/renamed.tif"] = files.pop("case/own.ome.tif")
    slide = await opened(files, "case/renamed.tif")
    assert (await read(slide, TileIndex(0, 0, 0))).array.shape == (30, 40, 4)
    await slide.close()


async def test_a_missing_file_of_a_set_is_named() -> None:
    files = file_set()
    del files["case/other.ome.tif"]
    slide = await opened(files, "case/own.ome.tif")
    with pytest.raises(CorruptData, match=r"other\.ome\.tif"):
        await slide.read_tile(TileIndex(0, 0, 0))
    await slide.close()


@pytest.mark.parametrize("name", ["../secret.tif", "/etc/passwd", "a/b.tif", "..", "a\\b.tif", ""])
async def test_file_names_never_leave_the_folder(name: str) -> None:
    data = f'<TiffData IFD="0" PlaneCount="1"/><TiffData FirstC="1" IFD="0"><UUID FileName="{name}">x</UUID></TiffData>'
    store = MemoryStore({"case/x.ome.tif": with_xml(described(data=data, c=2), 1), "secret.tif": with_xml("x", 1)})
    slide = await opened(store, "case/x.ome.tif")
    if name:
        with pytest.raises(CorruptData, match="missing"):
            await slide.read_tile(TileIndex(0, 0, 0))
    assert {request.key for request in store.log} <= {"case/x.ome.tif"}
    await slide.close()


async def test_metadata_in_a_companion() -> None:
    data = "".join(
        f'<TiffData FirstC="{n}" IFD="0" PlaneCount="1"><UUID FileName="{n}.ome.tif">u{n}</UUID></TiffData>'
        for n in range(2)
    )
    stub = '<OME UUID="u{}"><BinaryOnly MetadataFile="set.companion.ome" UUID="x"/></OME>'
    files = {f"{n}.ome.tif": with_xml(stub.format(n), 1, seed=n + 1) for n in range(2)}
    files["set.companion.ome"] = described(data=data, c=2).encode()
    for key in ("0.ome.tif", "1.ome.tif"):
        slide = await opened(files, key)
        tile = await read(slide, TileIndex(0, 0, 0))
        np.testing.assert_array_equal(tile.array, np.stack([samples((30, 40), seed=n) for n in (1, 2)], axis=2))
        await slide.close()
    del files["set.companion.ome"]
    slide = await opened(files, "1.ome.tif")
    np.testing.assert_array_equal((await read(slide, TileIndex(0, 0, 0))).array[..., 0], samples((30, 40), seed=2))
    await slide.close()


async def test_file_sets_from_disk(tmp_path: Path) -> None:
    for key, data in file_set().items():
        path = tmp_path / key
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
    slide = await opened(LocalStore(tmp_path), "case/own.ome.tif")
    assert len((await slide.info()).channels) == 4
    assert (await read(slide, TileIndex(0, 0, 0))).array[0, 0, 3] == samples((30, 40), seed=4)[0, 0]
    await slide.close()


async def test_levels_as_images_and_pictures_beside() -> None:
    """Pyramids before OME-TIFF 6 hold their levels as images; label and macro go by their names."""
    arrays = [samples((200, 160)), samples((100, 80), seed=2), samples((50, 40), seed=3)]
    label, macro = samples((60, 70, 3), "uint8"), samples((50, 90, 3), "uint8", seed=2)
    file = io.BytesIO()
    with tifffile.TiffWriter(file, ome=True) as writer:
        for number, array in enumerate(arrays):
            writer.write(array, metadata={"axes": "YX", "Name": f"slide #{number + 1}"})
        writer.write(label, photometric="rgb", metadata={"axes": "YXS", "Name": "label image"})
        writer.write(macro, photometric="rgb", metadata={"axes": "YXS", "Name": "macro"})
    slide = await opened(file.getvalue())
    info = await compare(slide, [("YX", array) for array in arrays])
    assert {image.name: image.size for image in info.associated} == {"label": Size(70, 60), "macro": Size(90, 50)}
    for name, expected in (("label", label), ("macro", macro)):
        picture = await slide.read_associated(name)
        assert isinstance(picture, Raster)
        np.testing.assert_array_equal(picture.array, expected)
    with pytest.raises(NotFound):
        await slide.read_associated("thumbnail")
    await slide.close()


@pytest.mark.parametrize(
    ("tile", "expected"),
    [
        ((16, 16), Size(256, 256)),
        ((48, 80), Size(80, 288)),
        ((1024, 256), Size(256, 1024)),
        ((4096, 2064), Size(512, 512)),
    ],
)
async def test_tiles_of_unusual_sizes_are_cut_anew(tile: tuple[int, int], expected: Size) -> None:
    file = ome(samples((700, 600)), "YX", tile=tile, compression="zlib")
    slide = await opened(file)
    info = await compare(slide, series(file))
    assert info.levels[0].tile_size == expected
    await slide.close()


async def test_what_does_not_exist() -> None:
    slide = await opened(ome(samples((2, 3, 100, 100)), "TZYX", **TILED))
    for index, parameter in (
        (TileIndex(1, 0, 0), "level"), (TileIndex(0, 2, 0), "tile"), (TileIndex(0, 0, 0, 3), "z"),
        (TileIndex(0, 0, 0, 0, 2), "t"),
    ):  # fmt: skip
        with pytest.raises(InvalidRequest) as caught:
            await slide.read_tile(index)
        assert caught.value.parameter == parameter
    await slide.close()
