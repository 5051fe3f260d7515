"""slicerio, as it is installed, drives our program: every function of ``slicerio.server``."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nrrd
import numpy as np
import pytest

from tests.serving import until

pytest.importorskip("slicer_core", reason="the scene is not installed: microtome[scene]")
server: Any = pytest.importorskip("slicerio.server")

PROGRAM = Path(sys.executable).with_name("microtome")
HEADER = {
    "space": "left-posterior-superior",
    "space directions": np.diag([1.0, 2.0, 3.0]),
    "space origin": [10.0, 20.0, 30.0],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scene files")


@pytest.fixture(scope="module")
def running(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Started by slicerio's own ``start_server``."""
    patch = pytest.MonkeyPatch()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        patch.setattr(server, "SERVER_PORT", free.getsockname()[1])
    patch.setenv("MICROTOME_DATA", str(folder))
    patch.setenv("MICROTOME_DICOMWEB", "false")
    assert not server.is_server_running()
    process = server.start_server(str(PROGRAM), timeoutSec=30)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)
        patch.undo()


@pytest.fixture
def volume(running: subprocess.Popen[bytes], folder: Path) -> Iterator[tuple[str, np.ndarray]]:
    """A volume in the scene: its id and voxels (columns, rows, slices)."""
    voxels = np.arange(5 * 6 * 7, dtype=np.int16).reshape(5, 6, 7)
    nrrd.write(str(folder / "my volume.nrrd"), voxels, HEADER)
    ids = server.file_load(folder / "my volume.nrrd", "VolumeFile", {"name": "Müller & Söhne"})
    assert len(ids) == 1
    yield ids[0], voxels
    server.node_remove()


def test_the_server_is_found(running: subprocess.Popen[bytes]) -> None:
    assert running.poll() is None
    assert server.is_server_running()


def test_names_and_ids(volume: tuple[str, np.ndarray]) -> None:
    assert server.node_names(id=volume[0]) == ["Müller & Söhne"]
    assert server.node_ids(name="Müller & Söhne") == [volume[0]]
    assert server.node_ids(class_name="vtkMRMLScalarVolumeNode") == [volume[0]]
    assert volume[0] in server.node_ids()
    assert server.node_names(name="nobody") == []


def test_properties_that_are_documented(volume: tuple[str, np.ndarray]) -> None:
    (found,) = server.node_properties(id=volume[0])
    assert found["ClassName"] == "vtkMRMLScalarVolumeNode"
    assert found["Name"] == "Müller & Söhne"
    assert found["ImageData"]["Extent"] == [0, 4, 0, 5, 0, 6]
    with pytest.raises(RuntimeError, match="No nodes matched the filter criteria"):
        server.node_properties(name="nobody")


def test_a_node_is_saved(volume: tuple[str, np.ndarray], folder: Path) -> None:
    server.file_save(folder / "saved.nrrd", id=volume[0], properties={"useCompression": False})
    voxels, header = nrrd.read(str(folder / "saved.nrrd"))
    assert header["encoding"] == "raw"
    assert np.array_equal(voxels, volume[1])
    assert np.allclose(header["space origin"], HEADER["space origin"])
    assert np.allclose(header["space directions"], HEADER["space directions"])
    with pytest.raises(RuntimeError, match="single node"):
        server.file_save(folder / "many.nrrd")
    with pytest.raises(RuntimeError, match="only inside its data folders"):
        server.file_save("/etc/hello.nrrd", id=volume[0])


def test_a_node_is_read_again(volume: tuple[str, np.ndarray], folder: Path) -> None:
    nrrd.write(str(folder / "my volume.nrrd"), volume[1] * 2, HEADER)
    server.node_reload(id=volume[0])
    server.file_save(folder / "reloaded.nrrd", id=volume[0])
    assert np.array_equal(nrrd.read(str(folder / "reloaded.nrrd"))[0], volume[1] * 2)
    with pytest.raises(RuntimeError, match="No nodes matched"):
        server.node_reload(name="nobody")


def test_a_segmentation_has_its_segments(running: subprocess.Popen[bytes], folder: Path) -> None:
    labels = np.zeros((8, 8, 8), np.uint8)
    labels[1:4, 1:4, 1:4], labels[5:7, 5:7, 5:7] = 1, 2
    about = {"Segment0_ID": "Segment_1", "Segment0_Name": "ribs", "Segment0_Color": "0.5 0.25 0.125",
             "Segment0_LabelValue": "1", "Segment0_Layer": "0", "Segment1_ID": "Segment_2", "Segment1_Name": "lung",
             "Segment1_LabelValue": "2", "Segment1_Layer": "0"}  # fmt: skip
    nrrd.write(str(folder / "organs.seg.nrrd"), labels, {**HEADER, **about})
    (node_id,) = server.file_load(folder / "organs.seg.nrrd", "SegmentationFile")
    (found,) = server.node_properties(id=node_id)
    segments = found["Segmentation"]["Segments"]
    assert {key: segment["Name"] for key, segment in segments.items()} == {"Segment_1": "ribs", "Segment_2": "lung"}
    assert segments["Segment_1"]["Color"] == [0.5, 0.25, 0.125]
    server.node_remove(id=node_id)
    assert server.node_ids(id=node_id) == []
    with pytest.raises(RuntimeError, match="No nodes matched"):
        server.node_remove(id=node_id)


def test_what_cannot_be_loaded_says_why(running: subprocess.Popen[bytes], folder: Path) -> None:
    (folder / "broken.nrrd").write_bytes(b"NRRD0004\ntype: short\n")
    with pytest.raises(RuntimeError, match="Server error"):
        server.file_load(folder / "broken.nrrd")
    with pytest.raises(RuntimeError, match="only inside its data folders"):
        server.file_load("/etc/passwd")
    with pytest.raises(RuntimeError, match="the operator allows hosts"):
        server.file_load("http://192.0.2.1/volume.nrrd")
    with pytest.raises(RuntimeError, match="studyUID"):
        server.file_load("slicer://viewer/?dicomweb_endpoint=http%3A%2F%2F192.0.2.1")


def test_it_is_stopped(running: subprocess.Popen[bytes]) -> None:
    assert server.stop_server() == {"success": True}
    until(lambda: running.poll() is not None)
    assert running.returncode == 0
    assert not server.is_server_running()


def test_the_program_has_the_name_that_slicerio_wants(tmp_path: Path) -> None:
    done = subprocess.run([PROGRAM, "slicer", "--alias", tmp_path / "Slicer"], check=True, capture_output=True)
    alias = Path(done.stdout.decode().strip())
    assert alias.name == "Slicer.exe"
    assert subprocess.run([alias, "--version"], check=True, capture_output=True).stdout.startswith(b"microtome")
