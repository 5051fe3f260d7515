"""Files of transforms that promise more than they hold, or hold what lies elsewhere, are refused: ITK believes them."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from microtome.errors import CorruptData, UnsupportedFormat

pytest.importorskip("h5py", reason="the scene is not installed: microtome[scene]")
from microtome.scene.images import Limits
from microtome.scene.mrml.files.before import MAX_TEXT, check_transform
from microtome.scene.mrml.files.transforms import MAX_LANDMARKS

h5py: Any = import_module("h5py")
GRID = "BSplineTransform_double_3_3"
FIXED = [4.0, 5.0, 6.0, *[0.0] * 3, *[1.0] * 3, 1, 0, 0, 0, 1, 0, 0, 0, 1]
FIXED_NAME, NAME = "1/TransformFixedParameters", "1/TransformParameters"


def check(path: Path) -> None:
    check_transform(path, Limits())


def hdf5(path: Path, change: Callable[[Any], object] = lambda group: None, **options: Any) -> Path:
    """A composite of one grid, as ITK writes it."""
    with h5py.File(path, "w", **options) as file:
        file["ITKVersion"] = np.array([b"5.4"])
        group = file.create_group("TransformGroup")
        group["0/TransformType"] = np.array([b"CompositeTransform_double_3_3"])
        group["1/TransformType"] = np.array([GRID.encode()])
        group[FIXED_NAME] = FIXED
        group.create_dataset(NAME, data=np.zeros(360), compression="gzip")
        change(group)
    return path


def put(name: str, value: Any) -> Callable[[Any], None]:
    def change(group: Any) -> None:
        del group[name]
        group[name] = value

    return change


def made(name: str, **options: Any) -> Callable[[Any], None]:
    def change(group: Any) -> None:
        del group[name]
        group.create_dataset(name, **options)

    return change


def virtual(group: Any) -> None:
    layout = h5py.VirtualLayout(shape=(360,), dtype="f8")
    layout[:] = h5py.VirtualSource("/etc/passwd", "x", shape=(360,))
    del group[NAME]
    group.create_virtual_dataset(NAME, layout)


def endless(group: Any) -> None:
    for number in range(30):
        group[f"again{number}"] = group


def test_files_of_itk(testdata: Path) -> None:
    found = [path for path in (testdata / "scene").iterdir() if path.suffix in {".h5", ".tfm"}]
    assert len(found) >= 8
    for path in found:
        check(path)


def test_a_grid_in_hdf5(tmp_path: Path) -> None:
    check(hdf5(tmp_path / "a.h5"))
    check(hdf5(tmp_path / "b.h5", put(NAME, np.zeros(360))))


@pytest.mark.parametrize("sizes", [(1e5,) * 3, (-1,) * 3, (math.nan,) * 3, (math.inf, 1, 1), (2.0**21,) * 3, (4, 5, 7)])
def test_grids_that_are_larger_than_their_parameters(tmp_path: Path, sizes: tuple[float, ...]) -> None:
    with pytest.raises(CorruptData):
        check(hdf5(tmp_path / "a.h5", put(FIXED_NAME, [*sizes, *FIXED[3:]])))
    numbers = " ".join(str(number) for number in (*sizes, *FIXED[3:]))
    (tmp_path / "a.tfm").write_text(f"Transform: {GRID}\nParameters: {'0 ' * 360}\nFixedParameters: {numbers}\n")
    with pytest.raises(CorruptData):
        check(tmp_path / "a.tfm")


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(made(NAME, shape=(10**11,), dtype="f8", chunks=(1 << 16,), compression="gzip"), id="not written"),
        pytest.param(made(NAME, shape=(10**6,), dtype="f8"), id="not written, in one piece"),
        pytest.param(made(NAME, shape=(8,), dtype="f8", external=[("/etc/passwd", 0, 64)]), id="another file"),
        pytest.param(made(NAME, data=h5py.Empty("f8")), id="empty"),
        pytest.param(put(NAME, h5py.ExternalLink("/etc/other.h5", "/x")), id="link out"),
        pytest.param(put(NAME, h5py.SoftLink("/TransformGroup/1/TransformFixedParameters")), id="soft link"),
        pytest.param(virtual, id="virtual"),
        pytest.param(endless, id="in circles"),
        pytest.param(put(FIXED_NAME, [FIXED]), id="of two dimensions"),
        pytest.param(put(FIXED_NAME, []), id="without a size"),
    ],
)
def test_hdf5_that_lies_or_leads_out(tmp_path: Path, change: Callable[[Any], object]) -> None:
    with pytest.raises(CorruptData) as caught:
        check(hdf5(tmp_path / "a.h5", change))
    assert "/etc" not in caught.value.message


def test_what_does_not_fit_its_ending(tmp_path: Path) -> None:
    text = b"#Insight Transform File V1.0\nTransform: AffineTransform_double_3_3\n"
    path = hdf5(tmp_path / "a.tfm", userblock_size=512)
    with path.open("r+b") as file:
        file.write(text)
    for name in ("a.tfm", "a.mat", "a.txt"):
        with pytest.raises(CorruptData):
            check(path.rename(tmp_path / name))
        path = tmp_path / name
    (tmp_path / "b.h5").write_bytes(text)
    (tmp_path / "c.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(500))
    for name in ("b.h5", "c.h5"):
        with pytest.raises(CorruptData):
            check(tmp_path / name)


@pytest.mark.parametrize(
    "text",
    [
        "Transform: Affine\nParameters: 1\n Transform : {grid}\nParameters: 1\nFixedParameters: {many}",
        "Transform: {grid}\n FixedParameters: {many}\nFixedParameters: {fixed}\nParameters: {zeros}",
        "FixedParameters: {many}\nTransform: {grid}\nParameters: {zeros}",
        "Transform: CompositeTransform_double_3_3\nComponentTransformFile: ../../other.tfm",
        "Transform: {grid}\nParameters: {zeros}",
        "Transform: {grid}\nParameters: {zeros}\nFixedParameters: x y z",
        "no transform at all",
        "",
    ],
)
def test_text_that_itk_reads_otherwise(tmp_path: Path, text: str) -> None:
    fixed = " ".join(str(number) for number in FIXED)
    path = tmp_path / "a.tfm"
    path.write_text(text.format(grid=GRID, fixed=fixed, zeros="0 " * 360, many="1e5 " * 3))
    with pytest.raises((CorruptData, UnsupportedFormat)):
        check(path)


@pytest.mark.parametrize(("name", "most"), [("a.tfm", MAX_TEXT), ("a.mat", MAX_TEXT), ("a.h5", MAX_TEXT * 8)])
def test_files_that_are_too_large(tmp_path: Path, name: str, most: int) -> None:
    with (tmp_path / name).open("wb") as file:
        file.truncate(most + 1)
    with pytest.raises(UnsupportedFormat, match="MiB"):
        check(tmp_path / name)


def test_splines_of_too_many_landmarks(tmp_path: Path) -> None:
    path = tmp_path / "a.tfm"
    for landmarks, refused in ((MAX_LANDMARKS, False), (MAX_LANDMARKS + 1, True)):
        numbers = "1 " * 3 * landmarks
        path.write_text(
            f"Transform: ThinPlateSplineKernelTransform_double_3_3\nParameters: {numbers}\nFixedParameters: {numbers}\n"
        )
        if refused:
            with pytest.raises(UnsupportedFormat, match="landmarks"):
                check(path)
        else:
            check(path)


def matrix(name: str, values: list[float], count: int | None = None, kind: int = 0) -> bytes:
    head = struct.pack("<5i", kind, len(values) if count is None else count, 1, 0, len(name) + 1)
    return head + name.encode() + b"\0" + struct.pack(f"<{len(values)}d", *values)


@pytest.mark.parametrize(
    ("data", "bearable"),
    [
        (matrix("AffineTransform_double_3_3", [1.0] * 12) + matrix("fixed", [0.0] * 3), True),
        (matrix(GRID, [0.0] * 360) + matrix("fixed", FIXED), True),
        (matrix(GRID, [0.0] * 360) + matrix("fixed", [1e5, *FIXED[1:]]), False),
        (matrix(GRID, [0.0] * 360, 1 << 30) + matrix("fixed", FIXED), False),
        (matrix(GRID, [0.0] * 360, -1) + matrix("fixed", FIXED), False),
        (matrix(GRID, [0.0] * 360, kind=1000) + matrix("fixed", FIXED), False),
        (matrix(GRID, [0.0] * 360), False),
        (matrix(GRID, [0.0] * 360)[:30], False),
    ],
)
def test_matrices_of_matlab(tmp_path: Path, data: bytes, *, bearable: bool) -> None:
    path = tmp_path / "a.mat"
    path.write_bytes(data)
    if bearable:
        check(path)
    else:
        with pytest.raises((CorruptData, UnsupportedFormat)):
            check(path)
