"""Slides of many formats as DICOM files: complete by tables of the standard, the same pixels in other readers."""

from __future__ import annotations

import io
import json
import pkgutil
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import pydicom
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image
from pydicom.encaps import get_frame
from pydicom.pixels.utils import pixel_array
from wsidicom import WsiDicom

from tests.serving import Client, served, until
from tests.unit.czi.czimaker import ZSTD1, Block, czi, metadata
from tests.unit.ngff.images import write

WHOLE = {"accept": "application/dicom; transfer-syntax=*"}
MADE = ("colour.czi", "image.zarr")
REAL = {
    "small.svs": "svs/CMU-1-Small-Region.svs",
    "jpeg2000.svs": "synthetic/c3_aperio_j2k33003_ycbcr422_6000x4500.svs",
    "dapi.ndpi": "vendor/ndpi/test3-DAPI-2-(387).ndpi",
    "planes.ome.tif": "synthetic/e2_ome_zstack_2c7z_1024.ome.tif",
}


@pytest.fixture(scope="module")
def client(testdata: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp("formats") / "data"
    folder.mkdir()
    for name, place in REAL.items():
        shutil.copyfile(testdata / place, folder / name)
    ramp = np.add.outer(np.arange(500), np.arange(600))
    colour = np.stack([ramp % 251, ramp % 239, ramp % 211], axis=2).astype(np.uint8)
    (folder / "colour.czi").write_bytes(czi([Block(colour, 0, 0, compression=ZSTD1)], metadata()))
    channels = np.stack([ramp, ramp[::-1]]).astype(np.uint16)
    write(folder / "image.zarr", [channels, channels[:, ::2, ::2]], "cyx", chunks=(1, 256, 256))
    with served(folder, dicomweb=True) as client:
        until(lambda: {value(each, "0008103E") for each in series(client)} == {*REAL, *MADE})
        yield client


def series(client: Client) -> list[dict[str, Any]]:
    return client.get("/dicom/series").json()


def value(found: dict[str, Any], tag: str) -> Any:
    return found[tag]["Value"][0]


def saved(client: Client, name: str, folder: Path) -> list[Path]:
    """Every instance of a slide as a file, in order."""
    (found,) = (each for each in series(client) if value(each, "0008103E") == name)
    base = f"/dicom/studies/{value(found, '0020000D')}/series/{value(found, '0020000E')}/instances"
    instances = sorted(client.get(base).json(), key=lambda each: value(each, "00200013"))
    paths: list[Path] = []
    for number, each in enumerate(instances):
        answer = client.get(f"{base}/{value(each, '00080018')}", WHOLE)
        assert answer.status == 200, answer.body
        paths.append(folder / f"{number}.dcm")
        paths[-1].write_bytes(answer.body)
    return paths


@cache
def table(name: str) -> Any:
    """A table of the standard that highdicom brings."""
    return json.loads(pkgutil.get_data("highdicom", f"_standard/{name}.json") or b"")


def lacking(dataset: pydicom.Dataset) -> list[str]:
    """Attributes of type 1 and 2 of the mandatory modules that are missing, or empty where they must not be.

    Which functional groups there must be stands in another table, of which dciodvfy knows.
    """
    found: list[str] = []
    for module in table("iod_module_map")["vl-whole-slide-microscopy-image"]:
        for each in table("module_attribute_map")[module["key"]] if module["usage"] == "M" else ():
            if each["type"] not in {"1", "2"} or each["path"] == ["SharedFunctionalGroupsSequence"]:
                continue
            places = [dataset]
            for step in each["path"]:
                places = [item for place in places for item in place.get(step) or ()]
            keyword, needed = each["keyword"], each["type"] == "1"
            if any(keyword not in place or (needed and place[keyword].is_empty) for place in places):
                found.append(".".join([*each["path"], keyword]))
    return found


@pytest.mark.parametrize("name", [*REAL, *MADE])
def test_files_are_complete_and_valid(client: Client, name: str, tmp_path: Path) -> None:
    for path in saved(client, name, tmp_path):
        dataset = pydicom.dcmread(path)
        assert lacking(dataset) == []
        validator = shutil.which("dciodvfy")
        if validator is not None:
            told = subprocess.run([validator, "-new", str(path)], capture_output=True, text=True, check=False).stderr
            assert not [line for line in told.splitlines() if line.startswith(("Error", "Abort"))]


def test_the_tables_find_what_is_missing(client: Client, tmp_path: Path) -> None:
    dataset = pydicom.dcmread(saved(client, "small.svs", tmp_path)[0])
    del dataset.SpecimenDescriptionSequence[0].SpecimenUID
    dataset.ContainerIdentifier = ""
    del dataset.PatientID
    assert {*lacking(dataset)} == {
        "PatientID", "ContainerIdentifier", "SpecimenDescriptionSequence.SpecimenUID",
    }  # fmt: skip


def decoded(dataset: pydicom.Dataset, frame: int) -> NDArray[Any]:
    """A frame as pydicom and Pillow read it, RGB or gray."""
    if not dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        return pixel_array(dataset, index=frame)
    data = get_frame(dataset.PixelData, frame, number_of_frames=dataset.NumberOfFrames)
    with Image.open(io.BytesIO(data)) as picture:
        return np.asarray(picture.convert("L" if dataset.SamplesPerPixel == 1 else "RGB"))


@pytest.mark.parametrize("name", [*REAL, *MADE])
def test_other_readers_see_the_same_pixels(client: Client, name: str, tmp_path: Path) -> None:
    dataset = pydicom.dcmread(saved(client, name, tmp_path)[0])
    columns = -(-dataset.TotalPixelMatrixColumns // dataset.Columns)
    rows = -(-dataset.TotalPixelMatrixRows // dataset.Rows)
    encapsulated = dataset.file_meta.TransferSyntaxUID.is_encapsulated
    paths = dataset.NumberOfOpticalPaths
    for plane in {0, dataset.TotalPixelMatrixFocalPlanes - 1}:
        for column, row in {(0, 0), (columns // 2, rows // 2)}:
            place = f"tile/{column}/{row}?slide_id={name}&image_format=tiff&z={plane}"
            answer = client.get(f"/v3/slides/tile/level/0/{place}")
            assert answer.status == 200, answer.body
            tile = tifffile.imread(io.BytesIO(answer.body))
            for path in range(paths):
                frame = ((path * dataset.TotalPixelMatrixFocalPlanes + plane) * rows + row) * columns + column
                wanted = tile[path] if paths > 1 else np.moveaxis(tile, 0, -1) if tile.ndim == 3 else tile
                shown = decoded(dataset, frame)[: wanted.shape[0], : wanted.shape[1]]
                difference = np.abs(shown.astype(int) - wanted)
                assert difference.max() <= (3 if encapsulated else 0)  # decoders of lossy frames round differently


@pytest.mark.parametrize("name", [*REAL, *MADE])
def test_wsidicom_opens_them(client: Client, name: str, tmp_path: Path) -> None:
    info = client.get(f"/slides/{name}").json()
    with WsiDicom.open(saved(client, name, tmp_path)) as slide:
        assert (slide.size.width, slide.size.height) == (info["width"], info["height"])
        assert len(slide.levels) == info["level_count"]


@pytest.mark.parametrize("name", ["small.svs", "colour.czi"])
def test_openslide_sees_what_microtome_shows(client: Client, name: str, tmp_path: Path) -> None:
    first = saved(client, name, tmp_path)[0]
    with openslide.OpenSlide(first) as slide:
        shown = np.asarray(slide.read_region((64, 64), 0, (128, 128)).convert("RGB"))
    answer = client.get(f"/v3/slides/region/level/0/start/64/64/size/128/128?slide_id={name}&image_format=tiff")
    np.testing.assert_array_equal(shown, np.moveaxis(tifffile.imread(io.BytesIO(answer.body)), 0, -1))
