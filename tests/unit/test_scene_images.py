"""Volumes in files, compared with pynrrd, nibabel and SimpleITK; headers that lie take no memory."""

from __future__ import annotations

import gzip
import io
import random
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import nibabel
import nrrd
import numpy as np
import pytest
import SimpleITK

from microtome.errors import CorruptData, Forbidden, LimitExceeded, MicrotomeError, NotFound, UnsupportedFormat
from microtome.scene import places
from microtome.scene.images import Image, Limits, check_image, open_image, writing

TYPES = ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"]
ENCODINGS = ["raw", "gzip", "bzip2", "text", "hex"]
TURNED = np.array([[0.0, -1.5, 0, 10], [0.5, 0, 0, -20], [0, 0, 2.5, 30], [0, 0, 0, 1]])
HEAD = "NRRD0004\ntype: {type}\ndimension: 3\nsizes: {sizes}\nendian: little\nencoding: {encoding}\n"


def sample(dtype: str, shape: tuple[int, ...] = (4, 5, 6)) -> np.ndarray[Any, Any]:
    """Every value of its own, the largest and smallest of the type among them."""
    array = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    if array.dtype.kind != "f":
        array.flat[0], array.flat[1] = np.iinfo(dtype).min, np.iinfo(dtype).max
    else:
        array.flat[0], array.flat[1] = np.pi, -1e-7
    return array


def limits(folder: Path, voxels: int = 1 << 20) -> Limits:
    """As a scene whose root is this folder has them."""
    return Limits(voxels, lambda name: places.beside(folder / "header", name, [folder]))


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("dtype", TYPES)
def test_written_nrrd_is_what_pynrrd_reads(tmp_path: Path, dtype: str, encoding: str) -> None:
    voxels = sample(dtype)
    path = tmp_path / "a.nrrd"
    with path.open("wb") as file:
        writing.write(file, Image(voxels, TURNED), encoding)
    again = open_image(path, Limits())
    assert again.voxels.dtype == voxels.dtype
    assert np.array_equal(again.voxels, voxels)
    assert np.allclose(again.ijk_to_ras, TURNED)
    if encoding == "hex":  # pynrrd does not know it
        return
    array, header = nrrd.read(str(path))
    assert np.array_equal(array.T, voxels)
    assert np.allclose(np.array(header["space directions"]).T, (np.diag([-1, -1, 1, 1]) @ TURNED)[:3, :3])
    assert np.allclose(header["space origin"], [-10, 20, 30])


@pytest.mark.parametrize("encoding", ["raw", "gzip", "bzip2", "ascii"])
@pytest.mark.parametrize("dtype", TYPES)
def test_what_pynrrd_writes_is_read(tmp_path: Path, dtype: str, encoding: str) -> None:
    voxels = sample(dtype)
    if encoding == "ascii" and dtype[0] == "f":
        voxels = np.round(voxels, 3)
    if encoding == "ascii" and voxels.dtype.itemsize == 8:  # pynrrd writes 17 digits of them
        voxels = voxels % 1000
    path = tmp_path / "a.nrrd"
    header = {
        "encoding": encoding,
        "space": "right-anterior-superior",
        "space directions": np.diag([1, 2, 3]),
        "space origin": [7, 8, 9],
    }
    nrrd.write(str(path), voxels.T, header)
    image = open_image(path, Limits())
    assert image.voxels.dtype == voxels.dtype
    assert np.array_equal(image.voxels, nrrd.read(str(path))[0].T)
    assert np.allclose(image.ijk_to_ras, [[1, 0, 0, 7], [0, 2, 0, 8], [0, 0, 3, 9], [0, 0, 0, 1]])


@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize("ending", [".mha", ".mhd", ".nii", ".nii.gz", ".nrrd"])
@pytest.mark.parametrize("dtype", ["u1", "i2", "u4", "f4", "f8"])
def test_what_simpleitk_writes_is_read(tmp_path: Path, dtype: str, ending: str, compress: bool) -> None:
    image = SimpleITK.GetImageFromArray(sample(dtype))
    image.SetSpacing((0.7, 1.1, 3.0))
    image.SetOrigin((5, -6, 7))
    image.SetDirection((0, 1, 0, -1, 0, 0, 0, 0, 1))
    path = tmp_path / f"a{ending}"
    SimpleITK.WriteImage(image, str(path), useCompression=compress)
    found = open_image(path, limits(tmp_path))
    assert np.array_equal(found.voxels, sample(dtype))
    for place in ((0, 0, 0), (5, 4, 3)):
        lps = np.array(image.TransformIndexToPhysicalPoint(place))
        assert np.allclose((found.ijk_to_ras @ [*place, 1])[:3], lps * [-1, -1, 1], atol=1e-5)


def test_components_and_times(tmp_path: Path) -> None:
    colors = SimpleITK.GetImageFromArray(sample("u1", (3, 4, 5, 3)), isVector=True)
    for ending in (".nrrd", ".mha", ".nii.gz"):
        SimpleITK.WriteImage(colors, str(tmp_path / f"a{ending}"))
        assert np.array_equal(open_image(tmp_path / f"a{ending}", Limits()).voxels, sample("u1", (3, 4, 5, 3))), ending
    nibabel.save(nibabel.Nifti2Image(sample("i2", (2, 3, 4, 5)).T, np.eye(4)), tmp_path / "b.nii")
    found = open_image(tmp_path / "b.nii", Limits())
    assert np.array_equal(np.stack(found.frames), sample("i2", (2, 3, 4, 5)))


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image, nibabel.Nifti1Pair])
def test_nifti_as_nibabel_has_it(tmp_path: Path, kind: Any) -> None:
    image = kind(sample("i2").T, TURNED)
    image.header.set_slope_inter(0.25, -3)
    path = tmp_path / ("a.hdr" if kind is nibabel.Nifti1Pair else "a.nii.gz")
    nibabel.save(image, path)
    found = open_image(path, limits(tmp_path))
    known: Any = nibabel.load(path)
    assert isinstance(known, kind)
    assert np.allclose(found.voxels, np.asarray(known.dataobj).T, rtol=1e-6)
    assert np.allclose(found.ijk_to_ras, TURNED, atol=1e-5)


def qform_of(image: nibabel.Nifti1Image) -> np.ndarray[Any, Any]:
    """4 x 4."""
    found = image.header.get_qform()
    assert isinstance(found, np.ndarray)
    return found


def test_qform_alone_and_metres(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(sample("i2").T, None)
    image.set_qform(TURNED, 1)
    image.header["pixdim"][0] = -1 if np.linalg.det(TURNED[:3, :3]) < 0 else 1
    nibabel.save(image, tmp_path / "a.nii")
    assert np.allclose(open_image(tmp_path / "a.nii", Limits()).ijk_to_ras, qform_of(image), atol=1e-4)
    image.header.set_xyzt_units("meter")
    nibabel.save(image, tmp_path / "b.nii")
    turned = open_image(tmp_path / "b.nii", Limits()).ijk_to_ras
    assert np.allclose(turned[:3], qform_of(image)[:3] * 1000, atol=0.1)


@pytest.mark.parametrize("encoding", ["raw", "gzip", "bzip2", "text", "hex"])
def test_sizes_that_lie_take_no_memory(tmp_path: Path, encoding: str) -> None:
    """A gibibyte is promised; the file has a few bytes."""
    path = tmp_path / "a.nrrd"
    data = {"gzip": gzip.compress(b"\0" * 50)}.get(encoding, b"0 0 0 0")
    path.write_bytes(HEAD.format(type="short", sizes="1024 1024 512", encoding=encoding).encode() + b"\n" + data)
    tracemalloc.start()
    with pytest.raises(CorruptData, match="promises"):
        open_image(path, Limits(1 << 40))
    with pytest.raises(CorruptData, match="promises"):
        check_image(path, Limits(1 << 40))
    assert tracemalloc.get_traced_memory()[1] < 4 << 20
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("sizes", "error"),
    [
        ("0 5 5", CorruptData),
        ("-3 5 5", CorruptData),
        ("5 5", CorruptData),
        ("4294967296 4294967296 4294967296", CorruptData),
        ("1e3 5 5", CorruptData),
        ("2000 2000 2000", LimitExceeded),
    ],
)
def test_impossible_sizes(tmp_path: Path, sizes: str, error: type[MicrotomeError]) -> None:
    path = tmp_path / "a.nrrd"
    path.write_bytes(HEAD.format(type="uchar", sizes=sizes, encoding="raw").encode() + b"\n" + b"\0" * 64)
    with pytest.raises(error):
        open_image(path, Limits(1 << 20))


def test_a_gzip_bomb_stops_at_the_size_of_the_header(tmp_path: Path) -> None:
    path = tmp_path / "a.nrrd"
    bomb = gzip.compress(b"\0" * (64 << 20))
    path.write_bytes(HEAD.format(type="uchar", sizes="4 4 4", encoding="gzip").encode() + b"\n" + bomb)
    tracemalloc.start()
    assert open_image(path, Limits()).voxels.shape == (4, 4, 4)
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()


@pytest.mark.parametrize(
    "name", ["/etc/hostname", "../secret.raw", "a/../../secret.raw", "link.raw", "..\\secret.raw", "folder/link.raw"]
)
def test_detached_data_stays_beside_its_header(tmp_path: Path, name: str) -> None:
    inside = tmp_path / "root"
    (inside / "folder").mkdir(parents=True)
    (tmp_path / "secret.raw").write_bytes(b"\1" * 64)
    for link in (inside / "link.raw", inside / "folder" / "link.raw"):
        link.symlink_to(tmp_path / "secret.raw")
    for text, ending in (
        (HEAD.format(type="uchar", sizes="4 4 4", encoding="raw") + f"data file: {name}\n", "nhdr"),
        (HEAD.format(type="uchar", sizes="4 4 4", encoding="raw") + f"data file: LIST\n{name}\n", "nhdr"),
        (f"NDims = 3\nDimSize = 4 4 4\nElementType = MET_UCHAR\nElementDataFile = {name}\n", "mhd"),
    ):
        header = inside / f"a.{ending}"
        header.write_text(text)
        with pytest.raises(Forbidden):
            open_image(header, limits(inside))
        with pytest.raises(NotFound):
            open_image(header, Limits())


def test_detached_data_beside_the_header_is_read(tmp_path: Path) -> None:
    for number in (1, 2):
        (tmp_path / f"part{number:02d}.raw").write_bytes(bytes([number]) * 32)
    head = HEAD.format(type="uchar", sizes="4 4 4", encoding="raw")
    (tmp_path / "a.nhdr").write_text(head + "data file: part%02d.raw 1 2 1\n")
    (tmp_path / "b.nhdr").write_text(head + "data file: LIST\npart01.raw\npart02.raw\n")
    for name in ("a.nhdr", "b.nhdr"):
        voxels = open_image(tmp_path / name, limits(tmp_path)).voxels
        assert voxels[0, 0, 0] == 1
        assert voxels[3, 3, 3] == 2
    (tmp_path / "c.nhdr").write_text(head + "data file: part%s.raw 1 2 1\n")
    (tmp_path / "d.nhdr").write_text(head + "data file: part%02d.raw 1 99999999 1\n")
    for name in ("c.nhdr", "d.nhdr"):
        with pytest.raises(CorruptData):
            open_image(tmp_path / name, limits(tmp_path))


@pytest.mark.parametrize(
    "line",
    [
        "type: block\nblock size: 99999999999",
        "encoding: jpeg",
        "endian: middle",
        "space directions: (0,0,0) (0,0,0) (0,0,0)",
        "space directions: (1,0,0) (2,0,0) (3,0,0)",
        "space directions: (nan,0,0) (0,1,0) (0,0,1)",
        "space directions: (1e300,0,0) (0,1,0) (0,0,1)",
        "byte skip: -7",
        "byte skip: 99999999999",
        "line skip: 99999999",
        "sizes: 4 4 4",
    ],
)
def test_odd_headers_are_refused(tmp_path: Path, line: str) -> None:
    name = line.partition(":")[0]
    head = HEAD.format(type="uchar", sizes="4 4 4", encoding="raw")
    if name in {"type", "encoding", "endian"}:
        head = "\n".join(each for each in head.splitlines() if not each.startswith(f"{name}:")) + "\n"
        if name == "endian":
            head = head.replace("uchar", "short")
    (tmp_path / "a.nrrd").write_bytes(f"{head}{line}\n\n".encode() + b"\0" * 128)
    with pytest.raises((CorruptData, UnsupportedFormat)):
        open_image(tmp_path / "a.nrrd", Limits())


def test_nifti_that_lies(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(sample("i2").T, np.eye(4)), tmp_path / "a.nii")
    data = (tmp_path / "a.nii").read_bytes()

    def with_(at: int, kind: str, *values: float) -> bytes:
        changed = bytearray(data)
        struct.pack_into(kind, changed, at, *values)
        return bytes(changed)

    huge = with_(40, "<8h", 3, 32767, 32767, 500, 1, 1, 1, 1)
    for number, broken in enumerate(
        (
            huge,
            gzip.compress(huge),
            with_(40, "<8h", 3, -5, 5, 5, 1, 1, 1, 1),
            with_(40, "<8h", 9, 5, 5, 5, 1, 1, 1, 1),
            with_(70, "<h", 32),
            with_(70, "<h", 9999),
            with_(108, "<f", float("nan")),
            with_(108, "<f", 1e12),
            with_(280, "<12f", *[0.0] * 12),
            data[:300],
            data[:-10],
        )
    ):
        path = tmp_path / f"{number}.nii"
        path.write_bytes(broken)
        with pytest.raises((CorruptData, UnsupportedFormat, LimitExceeded)):
            open_image(path, Limits(1 << 40))


def test_chance_changes_raise_nothing_unknown(tmp_path: Path) -> None:
    """Bytes of headers changed, cut and doubled at random: read or refused, never anything else."""
    chance = random.Random(4)
    stream = io.BytesIO()
    writing.write(stream, Image(sample("i2"), TURNED), "gzip")
    nibabel.save(nibabel.Nifti1Image(sample("i2").T, TURNED), tmp_path / "a.nii.gz")
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(sample("i2")), str(tmp_path / "a.mha"), useCompression=True)
    nifti = gzip.decompress((tmp_path / "a.nii.gz").read_bytes())
    originals = [stream.getvalue(), nifti, (tmp_path / "a.mha").read_bytes()]
    refused = 0
    for number in range(900):
        data = bytearray(originals[number % 3])
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(min(len(data), 420))
            match chance.randrange(3):
                case 0:
                    data[at] = chance.randrange(256)
                case 1:
                    del data[at : at + chance.randint(1, 30)]
                case _:
                    data[at:at] = bytes(chance.choice(b"0123456789-:. \n(,)none") for _ in range(chance.randint(1, 6)))
        path = tmp_path / "b"
        path.write_bytes(data)
        try:
            open_image(path, limits(tmp_path))
        except MicrotomeError:
            refused += 1
    assert refused > 300


def test_conversion_clamps_and_rounds() -> None:
    values = np.array([[[-1e9, -0.5, 0.5, 1.5, 254.7, 300, np.nan]]])
    assert writing.converted(values, "uchar").tolist() == [[[0, 0, 0, 2, 255, 255, 0]]]
    assert writing.converted(np.array([[[2**40, -5]]]), "int").tolist() == [[[2**31 - 1, -5]]]
    assert writing.compatible(np.array([[[40000]]], np.uint16)).dtype == np.uint16
    assert writing.compatible(np.array([[[30000]]], np.uint16)).dtype == np.int16
    assert writing.compatible(np.array([[[0.5]]], np.float32)).dtype == np.float32
