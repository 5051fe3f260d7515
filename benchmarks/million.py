"""A million instances into the index: 5,000 studies of four series, each file a scanner's header and hardly a pixel."""

from __future__ import annotations

import io
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

from pydicom.uid import UID

from benchmarks import studies
from benchmarks.workloads import Bench, Row

STUDIES, SERIES, INSTANCES = 5_000, 4, 50
MINUTES = 15
_PLACES = {
    "study": b"990001", "series": b"990002", "instance": b"990003", "patient": b"990004", "name": b"990005",
    "accession": b"990006", "slice": b"990007",
}  # fmt: skip
"""Digits of a template that are replaced by others, as many, so that every length in it stays right."""


def template() -> bytes:
    """A CT header of about 90 elements in explicit little-endian, with four pixels."""
    place = {name: value.decode() for name, value in _PLACES.items()}
    dataset = studies.ct_slice(f"{studies.ROOT}.{place['study']}", 1, 1, pixels=False)
    study = f"{studies.ROOT}.{place['study']}"
    dataset.StudyInstanceUID = study
    dataset.SeriesInstanceUID = f"{study}.{place['series']}"
    dataset.SOPInstanceUID = f"{study}.{place['series']}.{place['instance']}"
    dataset.file_meta.MediaStorageSOPInstanceUID = UID(dataset.SOPInstanceUID)
    dataset.PatientID, dataset.PatientName = f"P{place['patient']}", f"Name{place['name']}^Given"
    dataset.AccessionNumber, dataset.InstanceNumber = f"A{place['accession']}", place["slice"]
    dataset.ImagePositionPatient, dataset.SliceLocation = ["0", "0", place["slice"]], place["slice"]
    dataset.Rows = dataset.Columns = 2
    dataset.PixelData = bytes(8)
    written = io.BytesIO()
    dataset.save_as(written, enforce_file_format=True)
    return written.getvalue()


def make(folder: Path) -> int:
    """Write the files; the number of their bytes."""
    data, total = template(), 0
    for study in range(STUDIES):
        digits = b"%06d" % (100_000 + study)
        mine = data
        for name in ("study", "patient", "name", "accession"):
            mine = mine.replace(_PLACES[name], digits)
        for series in range(SERIES):
            place = folder / f"{study:04}" / str(series)
            place.mkdir(parents=True)
            ours = mine.replace(_PLACES["series"], b"%06d" % (100_000 + series))
            for number in range(INSTANCES):
                file = ours.replace(_PLACES["instance"], b"%06d" % (100_000 + number))
                file = file.replace(_PLACES["slice"], b"%06d" % (100_000 + number))
                total += len(file)
                descriptor = os.open(place / f"{number}.dcm", os.O_WRONLY | os.O_CREAT | os.O_EXCL)
                os.write(descriptor, file)
                os.close(descriptor)
    return total


def million(bench: Bench) -> None:
    """``microtome index`` over all of it, with its progress, by as many processes as there are cores."""
    folder, index = bench.work / "million", bench.work / "million.sqlite"
    count = STUDIES * SERIES * INSTANCES
    try:
        size = make(folder)
        before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        told = subprocess.run(
            [sys.executable, "-m", "microtome", "index", str(folder), "--index", str(index)],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        seconds = time.monotonic() - begin
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        if f"{count:,} instances" not in told.stdout:
            raise RuntimeError(f"not everything was indexed: {told.stdout.strip()[:300]}")
        progress = [line for line in told.stderr.splitlines() if " left" in line]
        stored = sum(each.stat().st_size for each in bench.work.glob("million.sqlite*"))
        bench.add(
            Row(
                f"DICOMweb: {count:,} generated instances indexed, {STUDIES:,} studies, {SERIES * STUDIES:,} series",
                f"at most {MINUTES} minutes on 2 cores, with progress",
                {"microtome": {"rate": count / seconds, "cpu_us": cpu / count * 1e6,
                               "largest_process_mb": after.ru_maxrss / 1e3}},
                seconds <= MINUTES * 60 and bool(progress),
                f"{seconds / 60:.1f} minutes, {cpu / 60:.1f} minutes of CPU; files of {size / count:,.0f} bytes, index"
                f" of {stored / 1e6:,.0f} MB; {len(progress)} lines of progress such as \"{(progress or [''])[0]}\"",
            )
        )  # fmt: skip
    finally:
        shutil.rmtree(folder, ignore_errors=True)
