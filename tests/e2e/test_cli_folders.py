"""Slides that are folders, and files of every format, on the command line."""

from __future__ import annotations

import json
from pathlib import Path

from tests.e2e.test_cli import PASSED, run

DICOM = "d3_dicom_wsi_6000x4500_ycbcr420"


def test_inspect_opens_a_folder_that_is_a_slide(testdata: Path, tmp_path: Path) -> None:
    for place in (str(testdata / "synthetic" / DICOM), f"{testdata / 'synthetic' / DICOM}/"):
        done = run("inspect", place, "--json", folder=tmp_path)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["format"] == "DICOM WSI"
    for place in (testdata, testdata / "nothing", "/"):
        done = run("inspect", place, folder=tmp_path)
        assert done.returncode == 1
        assert "is no slide; name one in it with --slide KEY" in done.stderr


def test_check_reads_folders_and_vector_tiles(testdata: Path, tmp_path: Path) -> None:
    for name, source in ((DICOM, "synthetic"), ("geojson", "vector")):
        (tmp_path / "data").mkdir(exist_ok=True)
        (tmp_path / "data" / name).mkdir()
        for path in (testdata / source / name).iterdir():
            (tmp_path / "data" / name / path.name).write_bytes(path.read_bytes())
    done = run("check", tmp_path / "data", "--list-slides", "--all", "--test-slide", DICOM, folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"  {DICOM}\n  geojson/" in done.stdout
    assert f"Slide opens: {DICOM} (DICOM WSI, 6000 x 4500 px, " in done.stdout
    assert PASSED in done.stdout
