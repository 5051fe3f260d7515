"""R12: frames over HTTP are exactly those that pydicom reads, for every transfer syntax of the real files."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.pixels.decoders.base import get_decoder

from microtome.dicom import syntaxes
from tests.dicommaker import received
from tests.serving import Client, served, until
from tests.unit.dicom.images import Real, real_images

PREFIX = "1.2.840.10008."
LOSSLESS = ("1.2", "1.2.1", "1.2.1.99", "1.2.2", "1.2.4.57", "1.2.4.70", "1.2.4.80", "1.2.4.90", "1.2.4.201", "1.2.5")
LOSSY = ("1.2.4.50", "1.2.4.51", "1.2.4.53", "1.2.4.55", "1.2.4.81", "1.2.4.91", "1.2.4.203")
OCTETS = 'multipart/related; type="application/octet-stream"'
EXPLICIT = "1.2.840.10008.1.2.1"


class Served:
    """The real files below names and UIDs of their own, and where each of them is."""

    def __init__(self, client: Client, reals: list[Real], uids: dict[Path, str]) -> None:
        self.client = client
        found = client.get("/dicom/instances?limit=9000").json()
        places = {each["00080018"]["Value"][0]: each["00081190"]["Value"][0] for each in found}
        self.reals = [
            (real, places[uids[real.path]].partition(str(client.port))[2])
            for real in reals
            if uids[real.path] in places
        ]

    def of(self, syntax: str) -> Iterator[tuple[Real, str]]:
        return (each for each in self.reals if each[0].syntax == PREFIX + syntax)


@pytest.fixture(scope="module")
def real_files(testdata: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("bitexact") / "data"
    folder.mkdir()
    reals: list[Real] = []
    uids: dict[Path, str] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number, path in enumerate(real_images(testdata / "dicom")):
            real = Real(path)
            old = str(real.found.get("SOPInstanceUID", ""))
            data, new = path.read_bytes(), f"9.{number}.".ljust(len(old), "7")
            # Many of the files are forms of one instance.
            changed = re.sub(rb"(?<![0-9.])%s(?![0-9.])" % re.escape(old.encode()), new.encode(), data) if old else data
            uids[path] = old if syntaxes.find(real.syntax).deflated else new
            place = folder / f"{number}.dcm"
            place.write_bytes(data if uids[path] == old else changed)
            if old and "StudyInstanceUID" not in real.found:
                complete = pydicom.dcmread(place)
                complete.StudyInstanceUID, complete.SeriesInstanceUID = f"9.{number}.1", f"9.{number}.2"
                complete.save_as(place)
            reals.append(real)
    with served(folder, dicomweb=True, dicom_index=str(folder.parent / "i.sqlite"), dicom_slides=False) as client:
        last = [-1, -1]

        def settled() -> bool:
            last[:] = [last[1], len(client.get("/dicom/instances?limit=9000").json())]
            return last[0] == last[1] > 220

        until(settled, 120)
        yield Served(client, reals, uids)


def frames(client: Client, place: str, number: int, accept: str) -> tuple[str, bytes]:
    """The transfer syntax and the bytes of a frame, from 1."""
    answer = client.get(f"{place}/frames/{number}", {"accept": accept})
    assert answer.status == 200, (place, answer.body[:300])
    ((headers, data),) = received(answer)
    return headers["content-type"].partition("transfer-syntax=")[2], data


def samples(real: Real, array: NDArray[Any], data: bytes) -> NDArray[Any]:
    """What was sent as native samples, in the shape pydicom gives."""
    if real.facts.allocated == 1:
        bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")
        return bits[: array.size].reshape(array.shape).astype(array.dtype)
    found = np.frombuffer(data, array.dtype.newbyteorder("<"), array.size)
    if real.native and real.facts.planar and array.shape[2] > 1:
        return np.moveaxis(found.reshape(array.shape[2], *array.shape[:2]), 0, 2)
    return found.reshape(array.shape)


def numbers(real: Real) -> list[int]:
    return sorted({0, 1, real.frames - 1} & set(range(real.frames)))


@pytest.mark.parametrize("syntax", LOSSLESS)
def test_r12_samples_are_those_of_pydicom(real_files: Served, syntax: str) -> None:
    compared = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for real, place in real_files.of(syntax):
            for number in numbers(real):
                try:
                    expected, _ = real.expected(number)
                except Exception:  # noqa: BLE001 what pydicom cannot read is no oracle
                    continue
                if real.native and real.found.PhotometricInterpretation == "YBR_FULL_422":
                    continue  # stays as it is stored; pydicom spreads the chroma
                told, data = frames(real_files.client, place, number + 1, OCTETS)
                assert told == EXPLICIT, real.path.name
                found = samples(real, expected, data)
                if real.facts.allocated > real.facts.stored:
                    mask = np.array((1 << real.facts.stored) - 1).astype(expected.dtype)
                    found, expected = found & mask, expected & mask
                np.testing.assert_array_equal(found, expected, real.path.name)
                compared += 1
    assert compared


@pytest.mark.parametrize("syntax", LOSSLESS + LOSSY)
def test_r12_stored_frames_are_sent_untouched(real_files: Served, syntax: str) -> None:
    """Native ones little-endian and without padding; compressed ones byte for byte as pydicom takes them apart."""
    compared = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for real, place in real_files.of(syntax):
            for number in numbers(real):
                try:
                    expected, bit = real.encoded(number)
                except Exception:  # noqa: BLE001 see above
                    continue
                if real_files.client.get(f"{place}/frames/{number + 1}").status == 415:
                    continue  # broken on purpose; listed among the problems of the index
                told, data = frames(real_files.client, place, number + 1, 'multipart/related; type="*/*"')
                if real.native:
                    assert told == EXPLICIT, real.path.name
                    size = real.facts.native_range(number).length
                    # An odd frame of words has a byte more in files; whoever asks gets the samples alone.
                    assert len(data) in {size, -(-real.facts.pixels * real.facts.allocated // 8)}, real.path.name
                    if not bit and not syntaxes.find(real.syntax).big_endian:
                        assert data == expected[: len(data)], real.path.name
                else:
                    assert told == PREFIX + syntax, real.path.name
                    assert data == expected, real.path.name
                compared += 1
    assert compared


@pytest.mark.parametrize("target", ["1.2.5", "1.2.4.70", "1.2.4.80", "1.2.4.90", "1.2.4.201"])
def test_r12_lossless_conversions_keep_every_sample(real_files: Served, target: str) -> None:
    """The whole instance in another transfer syntax, decoded by pydicom again."""
    compared = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for real, place in real_files.of("1.2.1"):
            if real.frames != 1 or real.keyword != "PixelData" or real.facts.pixels > 1 << 18 or compared > 12:
                continue
            answer = real_files.client.get(place, {"accept": f"application/dicom; transfer-syntax={PREFIX}{target}"})
            if answer.status == 406:
                continue  # more bits or samples than it can hold
            assert answer.status == 200, answer.body[:300]
            found = pydicom.dcmread(io.BytesIO(answer.body))
            assert found.file_meta.TransferSyntaxUID == PREFIX + target
            again, _ = get_decoder(PREFIX + target).as_array(found, index=0, raw=True)
            expected, _ = real.expected(0)
            np.testing.assert_array_equal(again.reshape(expected.shape), expected, real.path.name)
            compared += 1
    assert compared > 3
