"""Where files of a scene may be."""

from __future__ import annotations

from pathlib import Path

import pytest

from microtome.errors import CorruptData, Forbidden, InvalidRequest, NotFound
from microtome.scene import places


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    (folder / "in").mkdir(parents=True)
    (folder / "in" / "a.nrrd").write_text("x")
    (tmp_path / "secret").write_text("x")
    (tmp_path / "root2").mkdir()
    (tmp_path / "root2" / "b").write_text("x")
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "out").symlink_to(tmp_path)
    (folder / "loop").symlink_to(folder / "loop")
    return folder


def test_what_is_inside_is_found(root: Path) -> None:
    wanted = root / "in" / "a.nrrd"
    for written in (str(wanted), f"file://{wanted}", f"FILE://localhost{wanted}", "in/a.nrrd", "in/../in/a.nrrd"):
        assert places.existing(written, [root]) == wanted
    (root / "in" / "b c").write_text("x")
    assert places.existing(f"file://{root}/in/b%20c", [root]).name == "b c"


@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", "file:///etc/passwd", "../secret", "in/../../secret", "link", "out/secret", "loop", "../root2/b",
     "file:///etc%2fpasswd", "//etc/passwd", "file://elsewhere/etc/passwd", "~/x"],
)  # fmt: skip
def test_nothing_outside_is_told(root: Path, path: str) -> None:
    with pytest.raises((Forbidden, NotFound)) as caught:
        places.existing(path, [root])
    assert isinstance(caught.value, Forbidden) or path == "~/x"
    assert str(root.parent) not in caught.value.message


def test_no_difference_between_what_is_there_and_what_is_not(root: Path) -> None:
    with pytest.raises(Forbidden) as one:
        places.existing("/etc/passwd", [root])
    with pytest.raises(Forbidden) as other:
        places.existing("/etc/no such file", [root])
    assert one.value.message == other.value.message


@pytest.mark.parametrize("path", ["", "a\0b", "x" * 5000])
def test_no_paths(root: Path, path: str) -> None:
    with pytest.raises(InvalidRequest):
        places.existing(path, [root])


def test_new_files(root: Path) -> None:
    assert places.writable("in/new.nrrd", [root]) == root / "in" / "new.nrrd"
    for path in ("/tmp/new.nrrd", "../new", "out/new", "link"):
        with pytest.raises(Forbidden):
            places.writable(path, [root])
    with pytest.raises(NotFound):
        places.writable("nowhere/new.nrrd", [root])
    with pytest.raises(InvalidRequest):
        places.writable("in", [root])


def test_without_roots_there_is_nothing(root: Path) -> None:
    with pytest.raises(Forbidden):
        places.existing(str(root / "in" / "a.nrrd"), [])


def test_endings() -> None:
    assert places.stem("a.b.seg.nrrd") == "a.b"
    assert places.stem("scan.nii.gz") == "scan"
    assert places.stem(".nrrd") == ".nrrd"
    assert places.ending_of("A.MRK.JSON") == ".mrk.json"
    assert places.ending_of("a") == ""


def test_names_that_no_file_can_have(root: Path) -> None:
    for path in ("in/" + "x" * 256, str(root / ("山" * 86) / "a.nrrd")):
        for find in (places.existing, places.writable):
            with pytest.raises(InvalidRequest):
                find(path, [root])
    with pytest.raises(CorruptData):
        places.beside(root / "in" / "a.nhdr", "x" * 256, [root])
    with pytest.raises(NotFound):
        places.existing("in/" + "x" * 255, [root])
