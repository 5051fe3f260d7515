"""Files and data of a scene over HTTP, as clients of the original ask for them, and as the safe API has them."""

from __future__ import annotations

import io
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import nibabel
import nrrd
import numpy as np
import pytest
import tifffile
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from microtome.scene.images import Image, writing
from tests.serving import Answer, Client, served, until

pytest.importorskip("slicer_core", reason="the scene is not installed: microtome[scene]")

VOXELS = (np.arange(60, dtype=np.int16) * 7 - 100).reshape(3, 4, 5)
PLACE = np.array([[-2.0, 0, 0, 5], [0, 0, 3, -6], [0, -4, 0, 7], [0, 0, 0, 1]])


def nrrd_of(voxels: np.ndarray[Any, Any] = VOXELS, encoding: str = "raw") -> bytes:
    stream = io.BytesIO()
    writing.write(stream, Image(voxels, PLACE), encoding)
    return stream.getvalue()


def read(answer: Answer) -> tuple[np.ndarray[Any, Any], dict[str, Any]]:
    """What pynrrd makes of an answer: (slices, rows, columns), header."""
    assert answer.status == 200, answer.body[:300]
    stream = io.BytesIO(answer.body)
    header = nrrd.read_header(stream)
    return nrrd.read_data(header, stream).T, header


def message(answer: Answer, status: int = 500) -> str:
    assert answer.status == status, answer.body
    assert answer.headers["content-type"] == "application/json"
    found = answer.json()
    assert found["success"] is False
    return found["message"].removeprefix("Server error: ")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    (folder / "a.nrrd").write_bytes(nrrd_of())
    return folder


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """Where folders of scenes are made; a short path, for there are sockets in it."""
    folder = Path(tempfile.mkdtemp(prefix="mt-"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(folder))
        yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def running(data: Path, home: Path) -> Iterator[Client]:
    with served(data, scene=True) as client:
        yield client


@pytest.fixture
def client(running: Client) -> Client:
    """With an empty scene."""
    assert running.request("DELETE", "/slicer/mrml").status == 200
    return running


def loaded(client: Client, target: str, body: bytes | None = None) -> str:
    answer = client.request("POST", target, body=body)
    assert answer.status == 200, answer.body
    found = answer.json()
    assert found["success"] is True
    return found["loadedNodeIDs"][0]


def test_load_and_save_by_path(client: Client, data: Path) -> None:
    node = loaded(client, f"/slicer/mrml?localfile={data}/a.nrrd&filetype=VolumeFile&name=mine")
    assert node == "vtkMRMLScalarVolumeNode1"
    assert client.get("/slicer/mrml/names?class=vtkMRMLScalarVolumeNode").json() == ["mine"]
    answer = client.get(f"/slicer/mrml/file?id={node}&localfile={data}/b.nii.gz&useCompression=False")
    assert answer.json() == {"success": True}
    image: Any = nibabel.load(data / "b.nii.gz")
    assert np.array_equal(np.asarray(image.dataobj).T, VOXELS)
    assert np.allclose(image.affine, PLACE, atol=1e-5)
    wrong = client.get(f"/slicer/mrml/file?id={node}&localfile={data}/b.xyz")
    assert "no known file format was found" in message(wrong)
    assert "Required `url` or `localfile`" in message(client.get(f"/slicer/mrml/file?id={node}"))
    assert message(client.get(f"/slicer/mrml/file?id=no&localfile={data}/b.nrrd")) == (
        "No nodes matched the filter criteria"
    )
    assert "single node" in message(client.get(f"/slicer/mrml/file?localfile={data}/b.nrrd"))


def test_reload(client: Client, data: Path) -> None:
    path = data / "r.nrrd"
    path.write_bytes(nrrd_of())
    node = loaded(client, "/slicer/mrml?localfile=r.nrrd&filetype=VolumeFile")
    path.write_bytes(nrrd_of(VOXELS + 1))
    assert client.request("PUT", f"/slicer/mrml?id={node}").json() == {"success": True, "reloadedNodeIDs": [node]}
    assert np.array_equal(read(client.get(f"/slicer/volume?id={node}"))[0], VOXELS + 1)


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "file:///etc/passwd", "../../etc/passwd", "link.txt", "%2Fetc%2Fpasswd", "out/a"]
)
def test_only_data_folders(client: Client, data: Path, path: str) -> None:
    for name, target in (("link.txt", "/etc/passwd"), ("out", "/etc")):
        if not (data / name).is_symlink():
            (data / name).symlink_to(target)
    escaped = path if "%" in path else quote(path, safe="")
    load = client.request("POST", f"/slicer/mrml?localfile={escaped}&filetype=TextFile")
    assert "only inside its data folders" in message(load, 403)
    loaded(client, f"/slicer/mrml?localfile={data}/a.nrrd&filetype=VolumeFile")
    save = client.get(f"/slicer/mrml/file?id=vtkMRMLScalarVolumeNode1&localfile={escaped}")
    assert "only inside its data folders" in message(save, 403)
    assert not list(Path("/etc").glob("*.nrrd"))


def test_addresses_need_hosts_that_are_allowed(client: Client) -> None:
    for url in ("http://127.0.0.1:1/a.nrrd", "http://example.org/a.nrrd", "ftp://example.org/a.nrrd"):
        answer = client.request("POST", f"/slicer/mrml?url={quote(url, safe='')}&filetype=VolumeFile")
        assert answer.status == 403
    assert message(client.request("POST", "/slicer/mrml?url=http://a/b")) == "'filetype'"


def test_a_file_of_an_allowed_host(data: Path) -> None:
    """Its name is that of the address; what comes from there is doubted like any file."""
    with served(data) as other, served(data, scene=True, scene_hosts=(f"127.0.0.1:{other.port}",)) as client:
        url = quote(f"http://127.0.0.1:{other.port}/nothing/there.nrrd", safe="")
        target = f"/slicer/mrml?url={url}&filetype=VolumeFile"
        assert "private address" in message(client.request("POST", target), 403)
    with (
        served(data, scene=True) as other,
        served(data, scene=True, scene_hosts=(f"127.0.0.1:{other.port}",), scene_private_hosts=True) as client,
    ):
        loaded(other, f"/slicer/mrml?localfile={data}/a.nrrd&filetype=VolumeFile")
        url = quote(f"http://127.0.0.1:{other.port}/slicer/volume", safe="")
        node = loaded(client, f"/slicer/mrml?url={url}&filetype=VolumeFile")
        assert client.get(f"/slicer/mrml/names?id={node}").json() == ["volume"]
        assert np.array_equal(read(client.get("/slicer/volume"))[0], VOXELS)
        url = quote(f"http://127.0.0.1:{other.port}/slicer/volume?id=none", safe="")
        assert client.request("POST", f"/slicer/mrml?url={url}&filetype=VolumeFile").status == 503


def test_what_the_original_says_when_something_is_missing(client: Client, data: Path) -> None:
    assert message(client.request("POST", f"/slicer/mrml?localfile={data}/a.nrrd")) == "'filetype'"
    assert "Nonsense" in message(client.request("POST", f"/slicer/mrml?localfile={data}/a.nrrd&filetype=Nonsense"))
    assert "Required `url` or `localfile`" in message(client.request("POST", "/slicer/mrml?filetype=VolumeFile"))
    (data / "broken.nrrd").write_bytes(b"NRRD0004\nno")
    assert message(client.request("POST", "/slicer/mrml?localfile=broken.nrrd&filetype=VolumeFile"))


def test_a_volume_as_nrrd(client: Client, data: Path) -> None:
    loaded(client, f"/slicer/mrml?localfile={data}/a.nrrd&filetype=VolumeFile")
    answer = client.get("/slicer/volume?id=a")
    assert answer.headers["content-type"] == "application/octet-stream"
    voxels, header = read(answer)
    assert np.array_equal(voxels, VOXELS)
    names = [line.split(":")[0] for line in answer.body.split(b"\n\n")[0].decode().splitlines()[3:]]
    order = "type, dimension, space, sizes, space directions, kinds, endian, encoding, space origin"
    assert names == order.split(", ")
    assert header["type"] == "short"
    assert header["space"] == "left-posterior-superior"
    assert np.allclose(np.array(header["space directions"]).T, (np.diag([-1, -1, 1, 1]) @ PLACE)[:3, :3])
    etag = {"if-none-match": answer.headers["etag"]}
    assert client.request("GET", "/slicer/volume?id=a", etag).status == 304
    part = client.request("GET", "/slicer/volume?id=a", {"range": "bytes=4-11"})
    assert (part.status, part.body) == (206, answer.body[4:12])
    head = client.request("HEAD", "/slicer/volume?id=a")
    assert int(head.headers["content-length"]) == len(answer.body)
    for pattern in ("vtkMRMLScalar*", "?", "[ab]", "vtkMRMLScalarVolumeNode1"):
        assert client.get(f"/slicer/volume?id={quote(pattern)}").body == answer.body
    assert "could not find nodes" in message(client.get("/slicer/volume?id=nothing"))
    client.request("DELETE", "/slicer/mrml")
    assert client.request("GET", "/slicer/volume?id=a", etag).status == 500


@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"])
@pytest.mark.parametrize("encoding", ["raw", "gzip", "bzip2", "text"])
def test_a_volume_of_any_type_and_encoding(client: Client, dtype: str, encoding: str) -> None:
    voxels = np.arange(24).reshape(2, 3, 4).astype(dtype)
    voxels.flat[0] = 0.25 if dtype[0] == "f" else np.iinfo(dtype).max
    answer = client.request("POST", "/slicer/volume?id=new", body=nrrd_of(voxels, encoding))
    assert answer.json()["status"] == "success"
    back, header = read(client.get(f"/slicer/volume?id=new&type=original&encoding={encoding}"))
    assert header["encoding"] == encoding
    assert np.array_equal(back, voxels)
    assert back.dtype == voxels.dtype
    assert np.array_equal(read(client.get("/slicer/volume?id=new"))[0], voxels)  # nothing is lost unless asked for
    assert read(client.get("/slicer/volume?id=new&type=short"))[1]["type"] == "short"


def test_a_volume_is_updated_in_place(client: Client, data: Path) -> None:
    node = loaded(client, f"/slicer/mrml?localfile={data}/a.nrrd&filetype=VolumeFile")
    for method in ("POST", "PUT"):
        answer = client.request(method, "/slicer/volume?id=a", body=nrrd_of(VOXELS[:2] * 2))
        assert answer.headers["content-type"] == "application/json"
        assert answer.json()["id"] == node
    assert np.array_equal(read(client.get("/slicer/volume?id=a"))[0], VOXELS[:2] * 2)
    assert client.get("/slicer/volumes").json() == [{"name": "a", "id": node}]
    assert "promises" in message(
        client.request("POST", "/slicer/volume?id=a", body=nrrd_of().replace(b"sizes: 5 4 3", b"sizes: 500 400 3"))
    )
    detached = nrrd_of().replace(b"encoding: raw", b"encoding: raw\ndata file: a.nrrd")
    assert client.request("POST", "/slicer/volume?id=a", body=detached).status in {403, 500}
    assert "encoding" in message(client.get("/slicer/volume?id=a&encoding=zip"))
    assert "type" in message(client.get("/slicer/volume?id=a&type=quaternion"))


def test_grid_transforms(client: Client) -> None:
    moves = np.random.default_rng(3).normal(0, 5, (3, 4, 5, 3))
    place = np.diag([-10.0, -20.0, 30.0, 1.0])
    stream = io.BytesIO()
    writing.write(stream, Image(moves, place))
    node = client.request("POST", "/slicer/gridTransform?id=warp", body=stream.getvalue()).json()["id"]
    for spelling in ("gridTransforms", "gridtransforms"):
        assert client.get(f"/slicer/{spelling}").json() == [{"name": "warp", "id": node}]
    for spelling in ("gridTransform", "gridtransform", "griddtransform"):
        answer = client.get(f"/slicer/{spelling}?id=warp")
        voxels, header = read(answer)
        assert header["type"] == "float"
        assert header["kinds"] == ["vector", "domain", "domain", "domain"]
        assert np.allclose(voxels, moves, atol=1e-5)
    assert client.get("/slicer/gridTransform?id=no").status == 500


def test_fiducials(client: Client) -> None:
    assert client.get("/slicer/fiducials").json() == {}
    file = b"# Markups fiducial file version = 4.11\n# CoordinateSystem = RAS\n"
    file += b"# columns = id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID\n"
    file += b"1,1.5,2,3,0,0,0,1,1,1,0,one,,\n2,4,5,6,0,0,0,1,1,1,0,two,,\n"
    node = loaded(client, "/slicer/mrml?filetype=MarkupsFile&filename=F.fcsv", file)
    found = client.get("/slicer/fiducials").json()[node]
    assert found["name"] == "F"
    assert found["markups"] == [{"label": "one", "position": [1.5, 2, 3]}, {"label": "two", "position": [4, 5, 6]}]
    assert len(found["color"]) == 3
    assert client.request("PUT", "/slicer/fiducial?r=7&a=8&s=9").json() == {"success": True}
    assert client.request("PUT", f"/slicer/fiducial?id={node}&r=1&index=1").json() == {"success": True}
    points = client.get("/slicer/fiducials").json()[node]["markups"]
    assert [each["position"] for each in points] == [[7, 8, 9], [1, 0, 0]]
    for query in ("index=2", "index=-1", "index=x", "r=x", "id=no"):
        assert client.request("PUT", f"/slicer/fiducial?{query}").status == 500
    assert client.get("/slicer/fiducial?r=5").status == 500  # a GET moves nothing
    assert client.get("/slicer/fiducials").json()[node]["markups"][0]["position"] == [7, 8, 9]


def test_segmentations(client: Client) -> None:
    labels = np.zeros((8, 9, 10), np.uint8)
    labels[1:4, 1:4, 1:4], labels[5:7, 5:8, 5:9] = 1, 2
    node = loaded(client, "/slicer/mrml?filetype=SegmentationFile&filename=s.nrrd", nrrd_of(labels))
    found = client.get("/slicer/segmentations").json()
    ids = found[node]["segmentIDs"]
    assert found == {node: {"name": "s", "segmentIDs": ids}}
    revision = client.get("/scene/v1/state").json()["revision"]
    voxels, header = read(client.get("/slicer/segmentation?format=labelmap"))
    assert sorted(np.bincount(voxels.ravel())[1:].tolist()) == [24, 27]
    one, header = read(client.get(f"/slicer/segmentation?segmentID={ids[0]}"))
    assert one.max() == 1
    assert one.sum() == 27
    first = np.argwhere(one)[0]
    place = header["space origin"] + first[::-1] @ np.array(header["space directions"])
    assert np.allclose(place, (np.diag([-1, -1, 1, 1]) @ PLACE @ [1, 1, 1, 1])[:3])
    assert b"Segment0_Name:=" in client.get("/slicer/segmentation").body.split(b"\n\n")[0]
    stl = client.get(f"/slicer/segmentation?segmentID={ids[1]}&format=stl")
    assert stl.headers["content-type"] == "model/stl"
    assert int.from_bytes(stl.body[80:84], "little") * 50 + 84 == len(stl.body) > 84
    glb = client.get("/slicer/segmentation?format=glb").body
    document = json.loads(glb[20 : 20 + int.from_bytes(glb[12:16], "little")])
    assert len(document["meshes"]) == 2
    assert client.get("/scene/v1/state").json()["revision"] == revision  # questions changed nothing
    for query in ("segmentID=no", "format=tiff", "segmentationID=no"):
        assert client.get(f"/slicer/segmentation?{query}").status == 500


def test_uploads_and_downloads(client: Client) -> None:
    node = loaded(client, "/slicer/mrml?filetype=VolumeFile&filename=up.nrrd", nrrd_of())
    answer = client.get(f"/slicer/mrml/file?id={node}&filename=.nrrd")
    assert answer.headers["content-disposition"] == 'attachment; filename="up.nrrd"'
    assert np.array_equal(read(answer)[0], VOXELS)
    text = client.get(f"/slicer/mrml/properties?id={node}").body.decode()
    assert "/tmp" not in text
    for name in ("..", "a/..", "x" * 300, "a%00b"):
        answer = client.request("POST", f"/slicer/mrml?filetype=VolumeFile&filename={name}", body=nrrd_of())
        assert answer.status == 500, name


def test_nothing_stays_in_the_folder_of_the_scene(client: Client, home: Path) -> None:
    loaded(client, "/slicer/mrml?filetype=VolumeFile&filename=up.nrrd", nrrd_of())
    for target in ("/slicer/volume", "/slicer/mrml/file?id=vtkMRMLScalarVolumeNode1&filename=.nii.gz"):
        assert client.get(target).status == 200
        client.request("HEAD", target)
    state = client.get("/scene/v1/scene.mrb")
    assert state.status == 200
    loaded(client, "/slicer/mrml?filetype=SceneFile&filename=s.mrb", state.body)
    (folder,) = home.glob("*/files")
    until(lambda: not [path for path in folder.rglob("*") if path.is_file()])


def test_too_large_an_upload(data: Path) -> None:
    with served(data, scene=True, scene_max_upload=1000, scene_max_voxels=50) as client:
        answer = client.request("POST", "/slicer/mrml?filetype=VolumeFile&filename=a.nrrd", body=b"\0" * 1001)
        assert message(answer, 413)
        answer = client.request("POST", f"/slicer/mrml?filetype=VolumeFile&localfile={data}/a.nrrd")
        assert "60 voxels" in message(answer, 413)


def ct(folder: Path, count: int = 4) -> str:
    """A series of slices 3 mm apart, in no order; its UID."""
    study, series = generate_uid(), generate_uid()
    folder.mkdir()
    for number in (2, 0, 3, 1)[:count]:
        meta = FileMetaDataset()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        meta.MediaStorageSOPClassUID = CTImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid()
        dataset = FileDataset(str(folder), {}, file_meta=meta, preamble=b"\0" * 128)
        dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study, series
        dataset.PatientID, dataset.PatientName, dataset.Modality = "p", "p", "CT"
        dataset.SeriesDescription = "chest"
        dataset.InstanceNumber = number + 1
        dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = 4, 5, 1
        dataset.PhotometricInterpretation = "MONOCHROME2"
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
        dataset.RescaleSlope, dataset.RescaleIntercept = 1, -1024
        dataset.ImagePositionPatient = [10, 20, 3.0 * number]
        dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        dataset.PixelSpacing = [0.5, 0.25]
        dataset.PixelData = (np.arange(20, dtype=np.uint16) + 100 * number).tobytes()
        dataset.save_as(folder / f"{number * 7 % 5}.dcm")
    return series


def test_a_folder_of_dicom_files(client: Client, data: Path) -> None:
    ct(data / "ct")
    node = loaded(client, f"/slicer/mrml?localfile={data}/ct&filetype=DicomFile")
    voxels, header = read(client.get(f"/slicer/volume?id={node}"))
    assert voxels[:, 0, 0].tolist() == [-1024, -924, -824, -724]
    assert np.allclose(header["space directions"], np.diag([0.25, 0.5, 3]))
    assert np.allclose(header["space origin"], [10, 20, 0])
    again = loaded(client, f"/slicer/mrml?localfile={data}/ct/0.dcm&filetype=VolumeFile&singleFile=false")
    assert client.get(f"/slicer/volume?id={again}").body.split(b"\n\n", 1)[1] == voxels.astype("<i2").tobytes()
    (data / "ct" / "2.dcm").unlink(missing_ok=True)
    uneven = client.request("POST", f"/slicer/mrml?localfile={data}/ct&filetype=DicomFile").json()
    assert len(uneven["loadedNodeIDs"]) == 1


def test_series_of_the_index_and_regions_of_slides(tmp_path: Path) -> None:
    series = ct(tmp_path / "ct")
    picture = np.random.default_rng(1).integers(0, 255, (256, 256, 3), np.uint8)
    tifffile.imwrite(tmp_path / "slide.tif", picture, tile=(128, 128), photometric="rgb")
    index = str(tmp_path.parent / f"{tmp_path.name}.sqlite")
    with served(tmp_path, scene=True, dicomweb=True, dicom_index=index, dicom_slides=False) as client:
        body = json.dumps({"series": series}).encode()

        def load() -> Answer:
            return client.request("POST", "/scene/v1/volumes/series", body=body)

        until(lambda: len(client.get(f"/dicom/instances?SeriesInstanceUID={series}").json()) == 4, seconds=30)
        answer = load()
        assert answer.status == 200, answer.body
        node = answer.json()["ids"][0]
        assert read(client.get(f"/slicer/volume?id={node}"))[0][:, 0, 0].tolist() == [-1024, -924, -824, -724]
        assert client.get(f"/slicer/mrml/names?id={node}").json() == ["chest"]
        missing = client.request("POST", "/scene/v1/volumes/series", body=b'{"series":"1.2.3"}')
        assert missing.status == 404
        asked = {"slide": "slide.tif", "level": 0, "x": 10, "y": 20, "width": 30, "height": 25}
        answer = client.request("POST", "/scene/v1/volumes/region", body=json.dumps(asked).encode())
        assert answer.status == 200, answer.body
        region = client.get(f"/scene/v1/nodes/{answer.json()['ids'][0]}/file?name=.nrrd")
        assert np.array_equal(read(region)[0][0], picture[20:45, 10:40])
        for wrong in ({"slide": "no.tif"}, {"level": 99}, {"width": 0}, {"more": 1}):
            answer = client.request("POST", "/scene/v1/volumes/region", body=json.dumps({**asked, **wrong}).encode())
            assert answer.status in {400, 404}, answer.body


def test_nobody_loads_what_a_login_hides(tmp_path: Path) -> None:
    """Slides and series of others do not exist."""
    picture = np.random.default_rng(1).integers(0, 255, (64, 64, 3), np.uint8)
    for name in ("alice", "bob"):
        (tmp_path / name).mkdir()
        tifffile.imwrite(tmp_path / name / "slide.tif", picture, tile=(64, 64), photometric="rgb")
    series = ct(tmp_path / "bob" / "ct")
    index = str(tmp_path.parent / f"{tmp_path.name}.sqlite")
    options = {"dicomweb": True, "dicom_index": index, "dicom_slides": False}
    with served(tmp_path, scene=True, integration="tests.api.test_login:ByFolder", **options) as client:

        def status(name: str, target: str, **body: object) -> int:
            headers = {"authorization": f"Bearer {name}"}
            return client.request("POST", f"/scene/v1/volumes/{target}", headers, json.dumps(body).encode()).status

        until(lambda: status("bob", "series", series=series) == 200)
        assert status("alice", "series", series=series) == 404
        for name, expected in (("alice", 404), ("bob", 200)):
            assert status(name, "region", slide="bob/slide.tif", width=8, height=8) == expected
        assert status("mallory", "region", slide="bob/slide.tif", width=8, height=8) == 401
        loading = client.request(
            "POST", "/slicer/mrml?filetype=DicomFile&localfile=bob/ct", {"authorization": "Bearer alice"}
        )
        assert message(loading, 403)
