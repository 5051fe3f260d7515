"""DICOM series as slides, wherever their files lie, over HTTP: listed once, opened by series, tiles untouched."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pydicom
import pytest
import tifffile
from numpy.typing import NDArray
from pydicom.encaps import generate_frames

from microtome.demo.svs import write_demo
from tests.dicommaker import CONTENT, made, parts, written
from tests.serving import Client, served, until
from tests.unit.wsidicom.dicommaker import JPEG, TILE, Key, instance

SIZE = (3 * TILE, 2 * TILE)


def tiles(*, paths: int = 1, planes: int = 1, samples: int = 3, columns: int = 3, rows: int = 2) -> dict[Key, Any]:
    """Smooth tiles, each another one."""
    ramp = np.add.outer(np.arange(TILE), np.arange(TILE))[:, :, np.newaxis].repeat(samples, axis=2)
    return {
        (path, plane, row, column): np.asarray(ramp + 10 * column + 20 * row + 30 * plane + 5 * path, np.uint8)
        for path in range(paths) for plane in range(planes) for row in range(rows) for column in range(columns)
    }  # fmt: skip


def series(number: int, **more: Any) -> dict[str, Any]:
    uid = f"1.2.3.{number}"
    return {"StudyInstanceUID": uid, "SeriesInstanceUID": f"{uid}.1", "SOPInstanceUID": f"{uid}.2", **more}


NUMBERS = (1, 2, 3, 4, 5, 6, 8, 9)


def slide(number: int) -> str:
    return f"dicom:/1.2.3.{number}/1.2.3.{number}.1"


def put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def listed(client: Client, query: str = "limit=1000") -> list[str]:
    answer = client.get(f"/slides?{query}")
    assert answer.status == 200, answer.body
    return answer.json()["slides"]


def facts(client: Client, slide_id: str) -> dict[str, Any]:
    answer = client.get(f"/slides/{quote(slide_id, safe='')}")
    assert answer.status == 200, answer.body
    return answer.json()


def tile(client: Client, slide_id: str, column: int, row: int) -> bytes:
    answer = client.get(f"/tiles/{quote(slide_id, safe='')}/0/{column}/{row}.jpg")
    assert answer.status == 200, answer.body
    return answer.body


def samples(client: Client, slide_id: str, column: int, row: int, z: int = 0) -> NDArray[Any]:
    """All channels as they are, (height, width, channels)."""
    coded = quote(slide_id, safe="")
    answer = client.get(f"/v3/slides/tile/level/0/tile/{column}/{row}?slide_id={coded}&image_format=tiff&z={z}")
    assert answer.status == 200, answer.body
    found = tifffile.imread(io.BytesIO(answer.body))
    return found if found.ndim == 3 and found.shape[2] == 3 else np.moveaxis(np.atleast_3d(found), 0, -1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything that a folder of DICOM can be: mixed, spread, without suffix, with other slides and a CT beside it."""
    folder = tmp_path_factory.mktemp("series") / "data"
    found = tiles()
    put(folder / "mixed" / "a.dcm", instance(found, size=SIZE, syntax=JPEG, **series(1)))
    put(folder / "mixed" / "b.dcm", instance(found, size=SIZE, syntax=JPEG, **series(2)))
    put(folder / "mixed" / "ct.dcm", written(made()))
    put(folder / "loose.dcm", instance(found, size=SIZE, syntax=JPEG, **series(3)))
    put(folder / "no-suffix" / "some file", instance(found, size=SIZE, syntax=JPEG, **series(4)))
    keys = list(found)
    for number, start in enumerate((4, 0, 2)):  # a concatenation, its parts in other folders
        part = instance(found, size=SIZE, part=(start, keys[start : start + 2]),
                        **series(5, SOPInstanceUID=f"1.2.3.5.{number}"))  # fmt: skip
        put(folder / f"spread{number}" / "part.dcm", part)
    sparse = dict(list(found.items())[:-1])
    put(folder / "more" / "sparse", instance(sparse, size=SIZE, sparse=True, **series(8)))
    stained = tiles(paths=2, planes=3, samples=1)
    for path in range(2):  # optical paths are instances of their own, in folders of their own
        mine = {(0, *key[1:]): array for key, array in stained.items() if key[0] == path}
        data = instance(mine, size=SIZE, planes=(0.0, 1.0, 2.0), paths=("ab"[path],),
                        **series(9, SOPInstanceUID=f"1.2.3.9.{path}"))  # fmt: skip
        put(folder / f"path{path}" / "IM1", data)
    put(folder / "one" / "1.dcm", instance(found, size=SIZE, syntax=JPEG, **series(6)))
    for number in range(3):
        put(folder / "ct" / f"{number}.dcm", written(made(study="1.2.9")))
    write_demo(folder / "a.svs", width=300, height=200)
    write_demo(folder / "mixed" / "z.svs", width=300, height=200)
    return folder


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[Client]:
    with served(folder, dicomweb=True, dicom_store="received", revalidate=0.1) as client:
        until(lambda: len(listed(client)) == len(NUMBERS) + 2)
        yield client


def test_every_series_is_one_slide_and_nothing_else_is(client: Client) -> None:
    assert listed(client) == ["a.svs", *(slide(number) for number in NUMBERS), "mixed/z.svs"]
    for number in NUMBERS:
        assert (facts(client, slide(number))["width"], facts(client, slide(number))["height"]) == SIZE


def test_pages_meet_without_a_gap(client: Client) -> None:
    whole = listed(client)
    for limit in range(1, 10):
        found: list[str] = []
        cursor = ""
        while True:
            page = client.get(f"/slides?limit={limit}{cursor}").json()
            found += page["slides"]
            assert len(page["slides"]) == limit or "next_cursor" not in page
            if "next_cursor" not in page:
                break
            cursor = f"&cursor={quote(page['next_cursor'], safe='')}"
        assert found == whole, limit
    assert listed(client, "prefix=mixed/") == ["mixed/z.svs"]
    assert listed(client, "prefix=dicom:/1.2.3.4/") == [slide(4)]
    assert listed(client, "prefix=d") == whole[1:-1]
    assert listed(client, "search=2.3.2.1") == [slide(2)]
    assert listed(client, "search=SVS") == ["a.svs", "mixed/z.svs"]


def test_stored_frames_are_tiles_byte_by_byte(client: Client, folder: Path) -> None:
    for number, name in ((1, "mixed/a.dcm"), (3, "loose.dcm"), (4, "no-suffix/some file"), (6, "one/1.dcm")):
        dataset = pydicom.dcmread(folder / name)
        frames = list(generate_frames(dataset.PixelData, number_of_frames=6))
        for place, frame in enumerate(frames):
            answer = client.get(f"/tiles/{quote(slide(number), safe='')}/0/{place % 3}/{place // 3}.jpg").body
            # The marker that declares the colours may be put in front; what is coded stays as it is.
            scan = frame.rstrip(b"\0")[2:]
            assert hashlib.sha256(answer[-len(scan) :]).digest() == hashlib.sha256(scan).digest()
            assert answer[: -len(scan)].startswith(b"\xff\xd8")


def test_a_concatenation_over_folders_is_put_together(client: Client) -> None:
    for (_, _, row, column), wanted in tiles().items():
        np.testing.assert_array_equal(samples(client, slide(5), column, row), wanted)


def test_sparse_tiles_are_where_they_belong(client: Client) -> None:
    *stored, missing = tiles().items()
    for (_, _, row, column), wanted in stored:
        np.testing.assert_array_equal(samples(client, slide(8), column, row), wanted)
    assert (samples(client, slide(8), missing[0][3], missing[0][2]) == 255).all()


def test_optical_paths_and_focal_planes(client: Client) -> None:
    found = client.get(f"/v3/slides/info?slide_id={quote(slide(9), safe='')}").json()
    assert found["extent"]["z"] == 3
    assert [each["name"] for each in found["channels"]] == ["stain 0"] * 2
    wanted = tiles(paths=2, planes=3, samples=1)
    for plane in range(3):
        both = samples(client, slide(9), 2, 1, plane)
        for path in range(2):
            np.testing.assert_array_equal(both[:, :, path], wanted[path, plane, 1, 2][:, :, 0])


def test_what_is_sent_is_a_slide_at_once(client: Client, folder: Path) -> None:
    sent = instance(tiles(), size=SIZE, syntax=JPEG, **series(7))
    kept = set(listed(client))
    body = parts(({"Content-Type": "application/dicom"}, sent))
    answer = client.request("POST", "/dicom/studies", {"content-type": CONTENT}, body)
    assert answer.status == 200, answer.body
    assert facts(client, slide(7))["width"] == SIZE[0]
    until(lambda: set(listed(client)) == kept | {slide(7)})
    assert tile(client, slide(7), 0, 0) == tile(client, slide(1), 0, 0)
    (stored,) = (path for path in (folder / "received").rglob("*") if path.is_file())
    stored.unlink()
    until(lambda: set(listed(client)) == kept)
    until(lambda: client.get(f"/slides/{quote(slide(7), safe='')}").status == 404)


def test_every_other_family_knows_them(client: Client) -> None:
    coded = quote(slide(1), safe="")
    assert client.get(f"/v3/slides/info?slide_id={coded}").json()["extent"] == {"x": SIZE[0], "y": SIZE[1], "z": 1}
    assert client.get(f"/v3/slides/tile/level/0/tile/0/0?slide_id={coded}").status == 200
    assert f'Width="{SIZE[0]}"' in client.get(f"/slides/{coded}/dzi").body.decode()
    assert client.get(f"/slides/{coded}/thumbnail").status == 200
    assert client.get("/studies/slide?study=1.2.3.1&series=1.2.3.1.1").json() == {"slide_id": slide(1)}
    (study,) = client.get("/dicom/studies?StudyInstanceUID=1.2.9").json()
    ct = client.get("/dicom/studies/1.2.9/series?limit=1").json()[0]["0020000E"]["Value"][0]
    assert study["00080061"]["Value"] == ["CT"]
    assert client.get(f"/studies/slide?study=1.2.9&series={ct}").json() == {"slide_id": None}


def test_mappers_list_no_ct(client: Client) -> None:
    found = client.get("/v3/cases/?context=.").json()
    slides = {each["id"]: each["slides"] for each in found}
    assert "./ct" not in {name for each in slides.values() for name in each}
    assert client.get("/v3/slides/info?slide_id=ct").status == 404
    assert client.get("/v3/slides/info?slide_id=one").status == 200
    studies = client.get("/v3/cases/?context=dicom:").json()
    assert {each["id"] for each in studies} >= {f"dicom:/1.2.3.{number}" for number in NUMBERS}


def test_series_are_called_by_their_description(tmp_path: Path) -> None:
    told = series(7, SeriesDescription="Liver <H&E>", SeriesNumber="1", Modality="SM")
    for name, each in (("told", told), ("bare", series(8))):
        put(tmp_path / "data" / name / "a.dcm", instance(tiles(), size=SIZE, syntax=JPEG, **each))
    with served(tmp_path / "data", dicomweb=True, dicom_index=str(tmp_path / "index.sqlite")) as client:
        until(lambda: {slide(7), slide(8)} <= set(listed(client)))
        answer = client.get("/slides").json()
        assert answer["names"] == {slide(7): "Liver <H&E>"}
        assert "names" not in client.get(f"/slides?prefix={slide(8)}").json()
        pages = [client.get(f"/view/{quote(slide(number), safe='')}").body.decode() for number in (7, 8)]
        assert "<title>Liver &lt;H&amp;E&gt; · microtome</title>" in pages[0]
        assert "<title>1.2.3.8.1 · microtome</title>" in pages[1]
