"""ImageJ, QPTIFF and multichannel TIFF against tifffile; what is recognised; every real file there is."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from microtome.errors import CorruptData, MicrotomeError
from microtome.formats.tifffile import TifffileFormat
from microtome.model import Channel, Raster, Size, TileIndex
from microtome.storage.folder import PinnedFolder
from microtome.storage.local import LocalStore
from tests.conftest import testdata_folder as real_folder
from tests.unit.tifffile.files import compare, ome, opened, read, samples, series

SIDES = {"T": 2, "Z": 3, "C": 4}


def imagej(data: Any, axes: str, metadata: dict[str, Any] | None = None, **options: Any) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, data, imagej=True, metadata={"axes": axes, **(metadata or {})}, **options)
    return file.getvalue()


@pytest.mark.parametrize("axes", ["YX", "ZYX", "CYX", "TYX", "ZCYX", "TZYX", "TCYX", "TZCYX"])
@pytest.mark.parametrize("compression", [None, "zlib"])
async def test_imagej_stacks(axes: str, compression: str | None) -> None:
    data = samples((*(SIDES[axis] for axis in axes[:-2]), 90, 80))
    file = imagej(data, axes, compression=compression)
    slide = await opened(file, "x.tif")
    info = await compare(slide, series(file))
    assert (info.time_points, info.focal_planes, len(info.channels)) == tuple(
        SIDES[axis] if axis in axes else 1 for axis in "TZC"
    )
    assert info.format_name == "ImageJ TIFF"
    await slide.close()


async def test_imagej_stacks_with_one_directory() -> None:
    """ImageJ writes stacks of more than 4 GB with the first directory only; the planes follow its data."""
    data = samples((3, 2, 90, 80))
    file = bytearray(imagej(data, "ZCYX"))
    with tifffile.TiffFile(io.BytesIO(bytes(file))) as oracle:
        page: Any = oracle.pages[0]
        count = len(page.tags)
        end = page.offset + 2 + 12 * count
        assert page.dataoffsets[0] + data.nbytes <= len(file)
    file[end : end + 4] = bytes(4)
    slide = await opened(bytes(file), "x.tif")
    await compare(slide, [("ZCYX", data)])
    await slide.close()
    broken = bytes(file).replace(b"slices=3", b"slices=9").replace(b"images=6", b"images=18")
    with pytest.raises(CorruptData, match="18 images"):
        await opened(broken[: len(file)], "x.tif")


async def test_imagej_colour() -> None:
    data = samples((3, 90, 80, 3), "uint8")
    slide = await opened(imagej(data, "ZYXS"), "x.tif")
    info = await compare(slide, [("ZYXS", data)])
    assert [channel.name for channel in info.channels] == ["R", "G", "B"]
    await slide.close()


async def test_imagej_labels_tables_and_units() -> None:
    ramp = np.arange(256, dtype="uint8")
    zero = np.zeros(256, "uint8")
    metadata = {
        "unit": "um",
        "Labels": ["c:1/2 z:1/3 - DAPI", "c:2/2 z:1/3 - CD8\nwavelength=525", "c:1/2 z:2/3 - DAPI"],
        "LUTs": [np.stack([zero, zero, ramp]), np.stack([ramp, ramp, zero])],
        "mode": "composite",
    }
    file = imagej(samples((3, 2, 90, 80)), "ZCYX", metadata, resolution=(4.0, 2.0))
    slide = await opened(file, "x.tif")
    info = await slide.info()
    assert info.channels == (Channel("DAPI", 0x0000FF), Channel("CD8", 0xFFFF00))
    assert info.spacing_um == pytest.approx((0.25, 0.5))
    assert info.properties["imagej.mode"] == "composite"
    await slide.close()


@pytest.mark.parametrize(
    ("unit", "expected"),
    [("micron", 0.5), ("\\u00B5m", 0.5), ("nm", 0.0005), ("mm", 500), ("cm", 5000), ("inch", 12700), ("pixel", None)],
)
async def test_imagej_units(unit: str, expected: float | None) -> None:
    file = imagej(samples((90, 80)), "YX", {"unit": unit}, resolution=(2.0, 2.0))
    slide = await opened(file, "x.tif")
    spacing = (await slide.info()).spacing_um
    assert spacing == (None if expected is None else pytest.approx((expected, expected), rel=1e-6))
    await slide.close()


def qptiff(channels: int = 3, color: bool = False) -> tuple[bytes, list[Any], dict[str, Any]]:
    """A QPTIFF as PhenoImager writes it: channels, a thumbnail, coarser levels, overview and label."""
    file = io.BytesIO()
    levels: list[Any] = []
    shape = (3,) if color else ()
    pictures = {
        "thumbnail": samples((50, 40, 3), "uint8"),
        "macro": samples((60, 90, 3), "uint8", seed=5),
        "label": samples((70, 60, 3), "uint8", seed=6),
    }

    def described(kind: str, number: int) -> bytes:
        name = "" if color else f"<Name>Stain {number}</Name><Color>{255 - number},{number},0</Color>"
        return (
            '<?xml version="1.0" encoding="utf-16"?><PerkinElmer-QPI-ImageDescription><DescriptionVersion>3'
            f"</DescriptionVersion><ImageType>{kind}</ImageType>{name}<Objective>20x</Objective><ScanProfile>"
            "<Name>inner</Name></ScanProfile></PerkinElmer-QPI-ImageDescription>"
        ).encode()

    with tifffile.TiffWriter(file) as writer:

        def write(data: Any, kind: str, number: int = 0, **options: Any) -> None:
            rgb = data.ndim == 3
            writer.write(
                data, photometric="rgb" if rgb else "minisblack", metadata=None, software="PerkinElmer-QPI",
                description=described(kind, number), resolution=(20_000, 20_000), resolutionunit="CENTIMETER",
                **options,
            )  # fmt: skip

        for level in range(3):
            planes = [
                samples((200 >> level, 180 >> level, *shape), "uint8", seed=9 * level + n) for n in range(channels)
            ]
            for number, data in enumerate(planes):
                write(
                    data, "ReducedResolution" if level else "FullResolution", number, tile=(64, 64), compression="lzw"
                )
            if level == 0:
                write(pictures["thumbnail"], "Thumbnail")
            levels.append(("CYXS" if color else "CYX", np.stack(planes)))
        write(pictures["macro"], "Overview")
        write(pictures["label"], "Label")
    return file.getvalue(), levels, pictures


async def test_qptiff_fluorescence() -> None:
    file, levels, pictures = qptiff()
    assert TifffileFormat().recognises(file, "x.tif")
    for name in ("x.qptiff", "x.tif"):
        slide = await opened(file, name)
        info = await compare(slide, levels)
        assert info.channels == tuple(Channel(f"Stain {n}", (255 - n) << 16 | n << 8) for n in range(3))
        assert info.spacing_um == pytest.approx((0.5, 0.5))
        assert info.magnification == 20
        assert {image.name for image in info.associated} == set(pictures)
        for key, expected in pictures.items():
            picture = await slide.read_associated(key)
            assert isinstance(picture, Raster)
            np.testing.assert_array_equal(picture.array, expected)
        await slide.close()


async def test_qptiff_brightfield() -> None:
    file, levels, _ = qptiff(channels=1, color=True)
    slide = await opened(file, "x.qptiff")
    info = await compare(slide, levels)
    assert [channel.name for channel in info.channels] == ["R", "G", "B"]
    await slide.close()


def plain(data: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, data, **options)
    return file.getvalue()


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("layout", [{"tile": (64, 64)}, {"rowsperstrip": 11}, {}])
async def test_samples_as_channels(planar: str, layout: dict[str, Any]) -> None:
    data = samples((5, 150, 130) if planar == "separate" else (150, 130, 5))
    axes = "SYX" if planar == "separate" else "YXS"
    described = "Channel:0:Name=DAPI\nChannel:1:Name=FITC" if planar == "contig" else None
    file = plain(
        data, photometric="minisblack", planarconfig=planar, metadata=None, description=described, **layout
    )  # fmt: skip
    assert TifffileFormat().recognises(file, "x.tif")
    slide = await opened(file, "x.tif")
    info = await compare(slide, [(axes, data)])
    names = ["DAPI", "FITC"] if described else ["Channel 0", "Channel 1"]
    assert [channel.name for channel in info.channels] == [*names, "Channel 2", "Channel 3", "Channel 4"]
    await slide.close()


@pytest.mark.parametrize("compression", [None, "zlib"])
async def test_pages_in_the_order_a_json_tells(compression: Any) -> None:
    data = samples((2, 3, 4, 90, 80))
    file = plain(data, photometric="minisblack", metadata={"axes": "TCZYX"}, compression=compression)
    assert TifffileFormat().recognises(file, "x.tif")
    slide = await opened(file, "x.tif")
    info = await compare(slide, [("TCZYX", data)])
    assert (info.time_points, len(info.channels), info.focal_planes) == (2, 3, 4)
    await slide.close()


async def test_reduced_directories_are_levels() -> None:
    levels = [samples((200 >> n, 160 >> n, 5), seed=n) for n in range(3)]
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        for number, level in enumerate(levels):
            writer.write(level, photometric="minisblack", planarconfig="contig", metadata=None, tile=(64, 64),
                         subfiletype=min(number, 1))  # fmt: skip
    slide = await opened(file.getvalue(), "x.tif")
    await compare(slide, [("YXS", level) for level in levels])
    await slide.close()


async def test_the_profile_and_the_software_come_along() -> None:
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    file = ome(samples((90, 80, 3), "uint8"), "YXS", photometric="rgb", iccprofile=profile, software="a scanner")
    slide = await opened(file)
    info = await slide.info()
    assert info.icc_profile == profile
    assert info.properties["tiff.Software"] == "a scanner"
    assert info.properties["ome.Creator"].startswith("tifffile")
    await slide.close()


TIFF = plain(samples((90, 80, 3), "uint8"), photometric="rgb", metadata=None)
TWO = samples((90, 80, 2))


@pytest.mark.parametrize(
    ("head", "name", "expected"),
    [
        *((TIFF, f"x{end}", True) for end in (".ome.tif", ".OME.TIFF", ".ome.tf2", ".Ome.Tf8", ".ome.btf", ".QPTIFF")),
        (TIFF, "x.tif", False),
        (TIFF, "x.svs", False),
        (b"GIF89a", "x.ome.tif", False),
        (b"", "x.ome.tif", False),
        (b"MM\0*" + bytes(100), "x.tif", False),
        (b"II*\0\x08\0\0\0\xff\xff" + bytes(100), "x.tif", False),
        (ome(samples((90, 80)), "YX"), "x.tif", True),
        (ome(samples((90, 80)), "YX", bigtiff=True), "x.tif", True),
        (imagej(samples((90, 80)), "YX"), "x.tif", True),
        (plain(samples((90, 80)), metadata=None), "x.tif", False),
        (plain(samples((2, 90, 80)), photometric="minisblack", metadata={"axes": "QYX"}), "x.tif", False),
        (plain(TWO, photometric="minisblack", planarconfig="contig", metadata=None), "x.tif", True),
        (plain(TWO, photometric="minisblack", planarconfig="contig", extrasamples=["unassalpha"], metadata=None),
         "x.tif", False),
        (plain(samples((90, 80, 4), "uint8"), photometric="rgb", metadata=None, extrasamples=["unassalpha"]),
         "x.tif", False),
        (plain(samples((90, 80, 6)), photometric="rgb", metadata=None, extrasamples=[0] * 3), "x.tif", True),
        (plain(samples((90, 80, 4)), photometric="minisblack", planarconfig="contig", byteorder=">", metadata=None),
         "x.tif", True),
    ],
)  # fmt: skip
def test_recognised(head: bytes, name: str, expected: bool) -> None:
    assert TifffileFormat().recognises(head, name) is expected


async def test_a_folder_is_no_tiff(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").write_bytes(b"x")
    with pytest.raises(MicrotomeError, match="one file"):
        await TifffileFormat().open(await PinnedFolder.open(LocalStore(tmp_path), "a"))


def real_files() -> list[str]:
    folder = real_folder()
    if folder is None:
        return []
    found = [path for name in ("tiff", "synthetic", "svs", "vendor") for path in sorted((folder / name).rglob("*"))]
    return [str(path.relative_to(folder)) for path in found if path.suffix.lower() in {".tif", ".tiff", ".btf", ".svs"}]


NO_FILES = [pytest.param("", marks=pytest.mark.skip(reason="no real files"))]


@pytest.mark.parametrize("key", real_files() or NO_FILES)
async def test_real_files(key: str, testdata: Path) -> None:
    """Those that are recognised open and agree with tifffile; all others end in an error of the house or open, too."""
    recognised = TifffileFormat().recognises((testdata / key).read_bytes()[:262_144], key)
    try:
        slide = await opened(LocalStore(testdata), key)
    except MicrotomeError as refused:
        assert not recognised or key.startswith(("tiff/corrupt", "tiff/image-rs/images/cmyk")), refused.message
        assert len(refused.message) > 15
        assert str(testdata) not in refused.message
        return
    try:
        info = await slide.info()
        if not recognised:
            level = info.levels[-1]
            with_error: MicrotomeError | None = None
            try:
                await read(slide, TileIndex(len(info.levels) - 1, level.columns - 1, level.rows - 1))
            except MicrotomeError as error:
                with_error = error
            assert with_error is None or len(with_error.message) > 15
        elif not key.startswith("tiff/corrupt"):
            lossy = info.properties["tiff.Compression"] == "JPEG"
            await compare(slide, series(testdata / key), tolerance=3 if lossy else 0, everywhere=False)
    finally:
        await slide.close()


async def test_the_real_stack(testdata: Path) -> None:
    slide = await opened(LocalStore(testdata), "synthetic/e2_ome_zstack_2c7z_1024.ome.tif")
    info = await slide.info()
    assert [channel.name for channel in info.channels] == ["DAPI", "Cy5"]
    assert (info.focal_planes, info.dtype, info.spacing_um) == (7, "uint16", pytest.approx((0.325, 0.325)))
    assert info.levels[0].size == Size(1024, 1024)
    await slide.close()
