"""Every real file goes into a scene, out and in again unchanged, or is refused with a reason; the page is current."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from scripts import generate_scene_files
from scripts.generate_scene_files import Found

pytest.importorskip("slicer_core", reason="the scene is not installed: microtome[scene]")


@pytest.fixture(scope="module")
def found(testdata: Path) -> list[Found]:
    """What became of each. Whatever is no refusal fails here."""
    return asyncio.run(generate_scene_files.look(testdata))


def test_no_file_is_missing(found: list[Found], testdata: Path) -> None:
    assert [each.key for each in found] == generate_scene_files.keys(testdata)
    assert len(found) > 120


def test_each_is_loaded_or_refused_with_a_reason(found: list[Found], testdata: Path) -> None:
    for each in found:
        assert each.node or len(each.remark) > 20, each
        assert str(testdata) not in each.remark


@pytest.mark.parametrize(
    ("kind", "formats", "least"),
    [
        ("ScalarVolume", {".nrrd", ".nii.gz", ".mha"}, 40),
        ("Model", {".vtk", ".vtp", ".stl", ".ply", ".obj", ".glb"}, 10),
        ("Segmentation", {".seg.nrrd"}, 2),
        ("Sequence", {".seq.nrrd"}, 3),
        ("BSplineTransform", {".h5", ".tfm"}, 4),
        ("LinearTransform", {".h5", ".tfm"}, 2),
        ("MarkupsFiducial", {".mrk.json", ".fcsv"}, 2),
    ],
)
def test_rounds_are_equal(found: list[Found], kind: str, formats: set[str], least: int) -> None:
    """Against pynrrd, nibabel, SimpleITK, meshio and VTK."""
    whole = [each for each in found if each.node == kind and set(each.equal) == formats]
    assert len(whole) >= least
    broken = [each for each in found if each.node == kind and set(each.equal) != formats]
    assert all(each.key == "scene/PentaHexa.vtk" for each in broken), broken


def test_page_is_current(found: list[Found]) -> None:
    committed = generate_scene_files.PAGE.read_text("utf-8")
    assert committed == generate_scene_files.updated(found), "run: python -m scripts.generate_scene_files FOLDER"
