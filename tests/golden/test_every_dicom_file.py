"""Every real file of DICOM: indexed with what pydicom reads in it, or listed with the reason why it is not."""

from __future__ import annotations

import warnings
from pathlib import Path

import pydicom
import pytest

from microtome.dicom.index.base import Index, State
from microtome.dicom.index.url import open_index
from microtome.dicom.index.walk import Walk
from microtome.storage.local import LocalStore

DIRECTORY = "1.2.840.10008.1.3.10"


async def every(index: Index) -> dict[str, State]:
    found: dict[str, State] = {}
    after = ""
    while page := await index.files(after, "\U0010ffff", 1000):
        found |= {key: state for key, _, _, state in page}
        after = page[-1][0]
    return found


def header(path: Path) -> pydicom.Dataset | None:
    """The header as pydicom reads it, None for what it does not take for DICOM with the UIDs of an instance."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = pydicom.dcmread(path, stop_before_pixels=True)
            uids = [found.get(name) for name in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")]
            if not all(uids) or str(found.file_meta.get("MediaStorageSOPClassUID")) == DIRECTORY:
                return None
        except Exception:  # noqa: BLE001 - whatever it raises, it is no witness
            return None
    return found


@pytest.mark.timeout(600)
async def test_every_file_is_indexed_or_listed_with_a_reason(testdata: Path, tmp_path: Path) -> None:
    folder = testdata / "dicom"
    paths = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    assert len(paths) > 200
    index = await open_index(str(tmp_path / "index.sqlite"))
    progress = await Walk(LocalStore(folder), index, processes=2).run()
    assert progress.read == len(paths)
    states = await every(index)
    assert states.keys() == paths.keys()
    told = {each.key: each.reason for each in await index.problems(10_000, others=True)}
    missed: list[str] = []
    for key, state in states.items():
        if state != State.INDEXED:
            assert told.get(key), f"{key} is not served and nobody says why"
        found = header(paths[key])
        if found is None or paths[key].read_bytes()[128:132] != b"DICM":
            continue
        if state == State.DUPLICATE:
            row = await index.find_instance(found.SOPInstanceUID)
            assert row.key != key
        elif state == State.INDEXED:
            row = await index.instance(found.StudyInstanceUID, found.SeriesInstanceUID, found.SOPInstanceUID)
            assert row.key == key
            assert row.frames == int(found.get("NumberOfFrames") or 1)
        else:
            missed.append(f"{key}: {told[key]}")
    assert not missed, "pydicom reads what is not served: " + "; ".join(missed)
    await index.close()
