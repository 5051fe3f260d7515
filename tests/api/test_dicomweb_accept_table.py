"""Content negotiation (PS3.18 §8.7): the rows A1 to A16 of what is expected, over HTTP."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pydicom
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import ImplicitVRLittleEndian, JPEGBaseline8Bit

from tests.dicommaker import color_jpeg, made, place, received, written
from tests.serving import Answer, Client, served, until

EXPLICIT, JPEG, RLE = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.5"
JSON, XML, DICOM, OCTETS = (f"application/{name}" for name in ("dicom+json", "dicom+xml", "dicom", "octet-stream"))


@dataclass(frozen=True)
class Archive:
    """A server with a CT image (held in Implicit VR), one of a JPEG Baseline frame, and three images of one series."""

    client: Client
    ct: str
    jpeg: str
    series: str
    raw: bytes
    stream: bytes

    def get(self, path: str, accept: str | None = None, query: str = "") -> Answer:
        return self.client.get(path + query, {} if accept is None else {"accept": accept})


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    folder = tmp_path_factory.mktemp("accept-table") / "data"
    folder.mkdir()
    ct = made(size=32)
    raw = bytes(ct.PixelData)
    ct.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    jpeg, stream = made(), color_jpeg(80)
    jpeg.Rows = jpeg.Columns = 256
    jpeg.SamplesPerPixel, jpeg.PhotometricInterpretation, jpeg.PlanarConfiguration = 3, "YBR_FULL_422", 0
    jpeg.BitsAllocated, jpeg.BitsStored, jpeg.HighBit = 8, 8, 7
    jpeg.PixelData, jpeg.file_meta.TransferSyntaxUID = encapsulate([stream]), JPEGBaseline8Bit
    jpeg["PixelData"].VR = "OB"
    several = [made("9.1", f"9.1.1.{number}") for number in range(3)]
    for number, each in enumerate([ct, jpeg, *several]):
        each.SeriesInstanceUID = "9.1.1" if number > 1 else each.SeriesInstanceUID
        (folder / f"{number}.dcm").write_bytes(written(each))
    index = str(folder.parent / "index.sqlite")
    with served(folder, dicomweb=True, dicom_index=index, dicom_slides=False) as client:
        until(lambda: len(client.get("/dicom/instances").json()) == 5)
        yield Archive(client, place(ct), place(jpeg), "/dicom/studies/9.1/series/9.1.1", raw, stream)


def kind(answer: Answer) -> str:
    assert answer.status == 200, answer.body[:300]
    return answer.headers["content-type"].partition("; boundary=")[0]


def related(name: str, syntax: str = "") -> str:
    return f'multipart/related; type="{name}"' + (f"; transfer-syntax={syntax}" if syntax else "")


@pytest.mark.parametrize("accepted", [None, "*/*", "", "text/html, */*;q=0.5"])
def test_a1_a2_defaults(archive: Archive, accepted: str | None) -> None:
    assert kind(archive.get("/dicom/studies", accepted)) == JSON
    assert kind(archive.get(archive.ct + "/metadata", accepted)) == JSON
    assert kind(archive.get(archive.ct, accepted)) == related(DICOM)
    assert kind(archive.get(archive.ct + "/frames/1", accepted)) == related(OCTETS)
    assert kind(archive.get(archive.ct + "/rendered", accepted)) == "image/jpeg"
    assert kind(archive.get(archive.ct + "/thumbnail", accepted)) == "image/jpeg"


@pytest.mark.parametrize(
    "other", ["nonsense", "a/b", "application/dicom+json;q=7", 'multipart/related; type="', ";;;", "/"]
)
def test_a3_entries_that_cannot_be_read_are_passed_over(archive: Archive, other: str) -> None:
    for joined in (f"{other}, application/json", f"application/json, {other}"):
        assert kind(archive.get("/dicom/studies", joined)) in {"application/json", JSON}
    assert kind(archive.get(archive.ct + "/rendered", f"{other}, image/png")) == "image/png"


@pytest.mark.parametrize(
    ("path", "accepted"),
    [
        ("/dicom/studies", "image/png"), ("/dicom/studies", "text/html"), ("{ct}/metadata", "image/png"),
        ("{ct}", "application/pdf"), ("{ct}", "image/jpeg"), ("{ct}/frames/1", "text/plain"),
        ("{ct}/rendered", "image/tiff"), ("{ct}/rendered", DICOM),
        ("{series}", DICOM), ("{series}", "application/x-tar"), ("{ct}/frames/1", JSON),
        ("{ct}", "application/dicom;q=0"),
    ],
)  # fmt: skip
def test_a4_only_what_is_not_there_is_406(archive: Archive, path: str, accepted: str) -> None:
    answer = archive.get(path.format(ct=archive.ct, series=archive.series), accepted)
    assert (answer.status, answer.error) == (406, "not_acceptable")


def test_a5_weights_case_and_quotes(archive: Archive) -> None:
    rendered = archive.ct + "/rendered"
    assert kind(archive.get(rendered, "image/jpeg;q=0.1, image/png;q=0.9")) == "image/png"
    assert kind(archive.get(rendered, "image/png;q=0.1, IMAGE/GIF")) == "image/gif"
    assert kind(archive.get(rendered, "image/*;q=0.5, image/jpeg;q=0")) != "image/jpeg"
    for spelling in (related(DICOM), "multipart/related; type=application/dicom",
                     'MULTIPART/Related; Type="Application/DICOM"',
                     'multipart/related;type="application/dicom";q=0.9'):  # fmt: skip
        assert kind(archive.get(archive.ct, spelling)) == related(DICOM)


def test_a6_the_query_parameter(archive: Archive) -> None:
    assert kind(archive.get(archive.ct + "/rendered", None, "?accept=image/png")) == "image/png"
    assert kind(archive.get(archive.ct + "/rendered", "image/gif", "?accept=image%2Fpng")) == "image/png"
    assert kind(archive.get("/dicom/studies", "text/html", "?accept=application/dicom%2Bjson")) == JSON
    spelled = "?accept=multipart%2Frelated%3B%20type%3D%22application%2Fdicom%2Bxml%22"
    assert kind(archive.get(archive.ct + "/metadata", JSON, spelled)) == related(XML)
    assert kind(archive.get(archive.ct + "/metadata", JSON, "?accept=image/png")) == JSON, "the header is left"


def test_a7_json_by_both_names(archive: Archive) -> None:
    for path in ("/dicom/studies", archive.ct + "/metadata"):
        for name in (JSON, "application/json"):
            assert kind(archive.get(path, name)) == name
        assert archive.get(path, JSON).json() == archive.get(path, "application/json").json()


def test_a8_xml_is_one_part_for_each_data_set(archive: Archive) -> None:
    for path, count in ((archive.series + "/metadata", 3), ("/dicom/instances", 5), (archive.ct + "/metadata", 1)):
        found = received(archive.get(path, related(XML)))
        assert len(found) == count
        assert all(headers["content-type"] == XML and b"<NativeDicomModel" in text for headers, text in found)


def syntax_of(answer: Answer) -> list[Any]:
    """The transfer syntax of each part, in its header and in its file alike."""
    found = received(answer) if "boundary" in answer.headers["content-type"] else [(answer.headers, answer.body)]
    told: list[Any] = []
    for headers, data in found:
        told.append(headers["content-type"].partition("transfer-syntax=")[2])
        assert pydicom.dcmread(io.BytesIO(data)).file_meta.TransferSyntaxUID == told[-1]
    return told


def test_a9_dicom_without_a_transfer_syntax_is_explicit_unless_lossy(archive: Archive) -> None:
    for accepted in (DICOM, related(DICOM)):
        assert syntax_of(archive.get(archive.ct, accepted)) == [EXPLICIT]
        assert syntax_of(archive.get(archive.jpeg, accepted)) == [JPEG]
    assert syntax_of(archive.get(archive.series, related(DICOM))) == [EXPLICIT] * 3


def test_a10_as_stored_but_never_implicit(archive: Archive) -> None:
    assert syntax_of(archive.get(archive.jpeg, f"{DICOM}; transfer-syntax=*")) == [JPEG]
    assert syntax_of(archive.get(archive.ct, related(DICOM, "*"))) == [EXPLICIT]
    assert archive.get(archive.ct, f"{DICOM}; transfer-syntax=1.2.840.10008.1.2").status == 406


@pytest.mark.parametrize(
    "syntax", [EXPLICIT, RLE, *(f"1.2.840.10008.1.2.4.{n}" for n in (57, 70, 80, 81, 90, 91, 201))]
)
def test_a11_a_transfer_syntax_that_is_asked_for(archive: Archive, syntax: str) -> None:
    assert syntax_of(archive.get(archive.ct, f'{DICOM}; transfer-syntax="{syntax}"')) == [syntax]
    assert syntax_of(archive.get(archive.series, related(DICOM, syntax))) == [syntax] * 3


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.2", "1.2.840.10008.1.2.4.102", "1.2.3", "nonsense"])
def test_a12_one_that_cannot_be_had_is_406(archive: Archive, syntax: str) -> None:
    for path, accepted in (
        (archive.ct, DICOM),
        (archive.ct, related(DICOM)),
        (archive.ct + "/frames/1", related(OCTETS)),
    ):
        assert archive.get(path, f"{accepted}; transfer-syntax={syntax}").status == 406
    beside = f"{DICOM}; transfer-syntax={syntax}, {DICOM}; transfer-syntax={EXPLICIT}"
    assert syntax_of(archive.get(archive.ct, beside)) == [EXPLICIT]


def test_a13_jpeg_that_lost_something_is_sent_as_it_is_held(archive: Archive) -> None:
    for accepted in (related("image/jpeg"), related("image/jpeg", JPEG), "image/jpeg"):
        answer = archive.get(archive.jpeg + "/frames/1", accepted)
        data = received(answer)[0][1] if "multipart" in accepted else answer.body
        assert data.rstrip(b"\0") == archive.stream.rstrip(b"\0")
    ((headers, _),) = received(archive.get(archive.ct + "/frames/1", related("image/jpeg")))
    assert headers["content-type"] == "image/jpeg; transfer-syntax=1.2.840.10008.1.2.4.70"


def test_a14_parts_of_any_type(archive: Archive) -> None:
    ((headers, data),) = received(archive.get(archive.jpeg + "/frames/1", related("*/*")))
    assert (headers["content-type"], data.rstrip(b"\0")) == (f"image/jpeg; transfer-syntax={JPEG}", archive.stream)
    ((headers, data),) = received(archive.get(archive.ct + "/frames/1", related("*/*")))
    assert (headers["content-type"], data) == (f"{OCTETS}; transfer-syntax={EXPLICIT}", archive.raw)


def test_a15_dicom_and_rendered_types_do_not_mix(archive: Archive) -> None:
    for path in (archive.ct, archive.ct + "/rendered", archive.ct + "/frames/1"):
        assert archive.get(path, "application/dicom, image/png").status == 400


@pytest.mark.parametrize(
    ("name", "syntax"),
    [("image/dicom-rle", "5"), ("image/jls", "4.80"), ("image/jp2", "4.90"), ("image/jphc", "4.201"),
     ("image/jpeg", "4.70")],
)  # fmt: skip
def test_a16_what_a_media_type_means_by_itself(archive: Archive, name: str, syntax: str) -> None:
    ((headers, data),) = received(archive.get(archive.ct + "/frames/1", related(name)))
    assert headers["content-type"] == f"{name}; transfer-syntax=1.2.840.10008.1.2.{syntax}"
    answer = archive.get(archive.ct + "/frames/1", name)
    assert (answer.headers["content-type"], answer.body) == (headers["content-type"], data)


def test_the_lists_of_viewers_are_answered_with_what_is_stored(archive: Archive) -> None:
    microscopy = ", ".join(
        [related("image/jls", f"1.2.840.10008.1.2.4.{n}") for n in (80, 81)]
        + [related("image/jp2", f"1.2.840.10008.1.2.4.{n}") for n in (90, 91)]
        + [related("image/jpx", f"1.2.840.10008.1.2.4.{n}") for n in (92, 93)]
        + [related(OCTETS, "*"), related("image/jpeg", JPEG)]
    )
    cornerstone = "multipart/related; type=application/octet-stream; transfer-syntax=*"
    for accepted in (microscopy, cornerstone):
        ((headers, data),) = received(archive.get(archive.jpeg + "/frames/1", accepted))
        assert headers["content-type"].endswith(f"transfer-syntax={JPEG}")
        assert data.rstrip(b"\0") == archive.stream
