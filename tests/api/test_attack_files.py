"""Slides made to harm the server that opens them: each costs one quick refusal, and nothing outside is shown."""

from __future__ import annotations

import errno
import io
import json
import sqlite3
import struct
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile

from microtome.formats.vector.geojson.file import Spool
from tests import tiffmaker
from tests.serving import Client, served
from tests.unit.openslide import makers

MB = 1 << 20
POINT = b'{"type": "Feature", "properties": {}, "geometry": {"type": "Point", "coordinates": [1, 2]}}'


def zarr(folder: Path, side: int, chunk: int) -> None:
    """An OME-Zarr 0.4 of one level without a single stored chunk."""
    scale = [{"type": "scale", "scale": [1, 1]}]
    axes = [{"name": name, "type": "space"} for name in "yx"]
    multiscales = [{"version": "0.4", "axes": axes, "datasets": [{"path": "0", "coordinateTransformations": scale}]}]
    array = {
        "zarr_format": 2, "shape": [side, side], "chunks": [chunk, chunk], "dtype": "|u1", "compressor": None,
        "fill_value": 0, "order": "C", "filters": None,
    }  # fmt: skip
    (folder / "0").mkdir(parents=True)
    (folder / ".zgroup").write_text('{"zarr_format": 2}')
    (folder / ".zattrs").write_text(json.dumps({"multiscales": multiscales}))
    (folder / "0" / ".zarray").write_text(json.dumps(array))


def placed_again_and_again() -> bytes:
    """An OME-TIFF whose TiffData place each of 90,000 planes ten thousand times."""
    buffer = io.BytesIO()
    pixels = (
        '<Pixels ID="Pixels:0" DimensionOrder="XYZCT" SizeX="16" SizeY="16" SizeC="1" SizeZ="300" SizeT="300"'
        ' Type="uint8">' + '<TiffData PlaneCount="90000"/>' * 10_000 + "</Pixels>"
    )
    xml = f'<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0">{pixels}</Image></OME>'
    tifffile.imwrite(buffer, np.zeros((16, 16), np.uint8), description=xml, metadata=None)
    return buffer.getvalue()


def without_height() -> bytes:
    """A TIFF whose ImageLength is 0."""
    data = tiffmaker.classic()
    entry = struct.pack("<HH", 257, 4), struct.pack("<HH", 257, 3)
    at = max(data.find(each) for each in entry)
    assert at > 0
    return data[: at + 8] + bytes(4) + data[at + 12 :]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The served folder ``root``, and ``secret`` beside it."""
    place = tmp_path_factory.mktemp("attack")
    root, secret = place / "root", place / "secret"
    for folder in (root / "e", secret / "m"):
        folder.mkdir(parents=True)
    zarr(root / "wide.zarr", 300_000, 100)  # nine million tiles: enough to be seen, not to harm the test
    zarr(root / "odd.zarr", 200_000, 4099)  # no factor divides a prime
    zarr(root / "dust.zarr", 3000, 1)
    (root / "flat.tif").write_bytes(without_height())
    vms, mirax = makers.vms("s"), makers.mirax("m")
    for name, data in {**vms, **mirax}.items():
        (secret / name).write_bytes(data)
        if name.endswith(".jpg"):
            (root / name.replace("s", "l", 1)).symlink_to(secret / name)
    (root / "away.vms").write_bytes(vms["s.vms"].replace(b"=s", b"=../secret/s"))
    (root / "linked.vms").write_bytes(vms["s.vms"].replace(b"=s", b"=l"))
    (root / "m.mrxs").write_bytes(mirax["m.mrxs"])
    (root / "m").symlink_to(secret / "m")
    (root / "e.mrxs").write_bytes(mirax["m.mrxs"])
    (root / "e/Index.dat").write_bytes(mirax["m/Index.dat"])
    ini = mirax["m/Slidedat.ini"].replace(b"Data0000.dat", b"../../secret/m/Data0000.dat")
    (root / "e/Slidedat.ini").write_bytes(ini)
    (root / "again.ome.tif").write_bytes(placed_again_and_again())
    database = sqlite3.connect(root / "endless.svslide")
    database.execute("CREATE TABLE SVSlideDataXPO (m_slide_folder text, OID int)")
    for name in ("DataManagerSQLiteConfigXPO", "SVHRScanDataXPO"):
        endless = "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT 'x' AS TableName FROM r"
        database.execute(f"CREATE VIEW {name} AS {endless} WHERE n < 0")
    database.commit()
    database.close()
    nested = struct.pack("<HH2s2xIHHI", 0x40, 0x555, b"SQ", 0xFFFFFFFF, 0xFFFE, 0xE000, 0xFFFFFFFF) * 100_000
    meta = struct.pack("<HH2sH", 2, 2, b"UI", 30) + b"1.2.840.10008.5.1.4.1.1.77.1.6"
    meta += struct.pack("<HH2sH", 2, 16, b"UI", 20) + b"1.2.840.10008.1.2.1\0"
    group = struct.pack("<HH2sHI", 2, 0, b"UL", 4, len(meta))
    (root / "deep.dcm").write_bytes(bytes(128) + b"DICM" + group + meta + nested)
    return place


@pytest.fixture(scope="module")
def client(place: Path) -> Iterator[Client]:
    with served(place / "root") as client:
        yield client


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/slides/wide.zarr/thumbnail?max_size=256", 413),
        ("/slides/odd.zarr/thumbnail?max_size=256", 413),
        ("/slides/dust.zarr/thumbnail?max_size=256", 413),
        ("/v3/slides/thumbnail/max_size/256/256?slide_id=wide.zarr", 422),
        ("/v3/slides/region/level/0/start/0/0/size/3000/3000?slide_id=wide.zarr", 200),
    ],
)
def test_the_number_of_tiles_costs_no_memory(client: Client, target: str, status: int) -> None:
    client.get("/slides/wide.zarr")
    tracemalloc.start()
    try:
        answer = client.get(target)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert answer.status == status, answer.body[:300]
    assert peak < 100 * MB


def test_an_image_without_height_is_no_mistake_of_the_server(client: Client) -> None:
    assert client.get("/slides/flat.tif").status == 415


def test_planes_are_not_placed_again_and_again(client: Client) -> None:
    """Nine hundred million steps would keep a thread for minutes, and the interpreter with it."""
    assert client.get("/slides/again.ome.tif").status == 413


@pytest.mark.parametrize("name", ["away.vms", "e.mrxs", "linked.vms", "m.mrxs"])
def test_slides_of_many_files_stay_in_their_folder(client: Client, name: str) -> None:
    answer = client.get(f"/tiles/{name}/0/0/0.jpg")
    assert answer.status == 415
    assert b"secret" not in answer.body


@pytest.mark.parametrize("name", ["s.vms", "m.mrxs"])
def test_honest_slides_of_many_files_are_shown(place: Path, name: str) -> None:
    with served(place / "secret") as client:
        assert client.get(f"/tiles/{name}/0/0/0.jpg").jpeg().size


def test_a_database_whose_query_never_ends_is_not_asked(client: Client) -> None:
    assert client.get("/slides/endless.svslide").status == 415


@pytest.mark.parametrize("query", ["", "&plugin=openslide", "&plugin=wsidicom"])
def test_deeply_nested_dicom_is_survived(client: Client, query: str) -> None:
    assert client.get(f"/v3/slides/info?slide_id=deep.dcm{query}").status in {404, 415}
    assert client.get("/health").status == 200


@pytest.mark.parametrize("write", ["append", "arrays"])
def test_a_full_disk_is_told_while_geojson_is_indexed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: str
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Spool, write, full)
    (tmp_path / "a.geojson").write_bytes(b'{"type": "FeatureCollection", "features": [' + POINT + b"]}")
    with served(tmp_path, cache_dir=tmp_path / "cache") as client:
        answer = client.get("/slides/a.geojson")
    assert answer.status == 503
    assert "No space left" in answer.json()["message"]
