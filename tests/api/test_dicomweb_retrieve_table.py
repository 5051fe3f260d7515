"""WADO-RS (PS3.18 §10.4): the rows R1 to R14 of what is expected, over HTTP; R12 has a module of its own."""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterator
from typing import Any

import imagecodecs
import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.uid import (
    MPEG4HP41,
    DeflatedExplicitVRLittleEndian,
    EncapsulatedPDFStorage,
    ExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    SegmentationStorage,
    generate_uid,
)

from tests.dicommaker import color_jpeg, made, place, received, written
from tests.serving import Answer, Client, served, until

OCTETS = 'multipart/related; type="application/octet-stream"'
STORED = 'multipart/related; type="*/*"'
STUDY = generate_uid()
PDF = b"%PDF-1.4\n%%EOF\n"
STREAMS = [color_jpeg(quality) for quality in (60, 75, 90)]


def jpegs(pixels: bytes, frames: int) -> Dataset:
    found = made(STUDY)
    found.Rows = found.Columns = 256
    found.SamplesPerPixel, found.PhotometricInterpretation, found.PlanarConfiguration = 3, "YBR_FULL_422", 0
    found.BitsAllocated, found.BitsStored, found.HighBit, found.NumberOfFrames = 8, 8, 7, frames
    found.PixelData, found.file_meta.TransferSyntaxUID = pixels, JPEGBaseline8Bit
    found["PixelData"].VR = "OB"
    return found


def without_pixels(sop_class: str) -> Dataset:
    found = Dataset()
    found.SOPClassUID, found.SOPInstanceUID = sop_class, generate_uid()
    found.StudyInstanceUID, found.SeriesInstanceUID, found.Modality = STUDY, generate_uid(), "DOC"
    found.file_meta = FileMetaDataset()
    found.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return found


def extended() -> Dataset:
    pixels, offsets, lengths = encapsulate_extended(STREAMS)
    found = jpegs(pixels, 3)
    found.ExtendedOffsetTable, found.ExtendedOffsetTableLengths = offsets, lengths
    return found


def images() -> dict[str, Dataset]:
    found = {
        "ct": made(STUDY, size=32),
        "table": jpegs(encapsulate(STREAMS), 3),
        "no table": jpegs(encapsulate(STREAMS, has_bot=False), 3),
        "fragments": jpegs(encapsulate(STREAMS, fragments_per_frame=3), 3),
        "extended": extended(),
        "deflated": made(STUDY, size=16),
        "segments": made(STUDY),
        "video": made(STUDY),
        "pdf": without_pixels(EncapsulatedPDFStorage),
        "plain": without_pixels("1.2.840.10008.5.1.4.1.1.88.33"),
    }
    found["ct"].NumberOfFrames = 3
    found["ct"].PixelData = np.arange(3 * 32 * 32, dtype="<u2").tobytes()
    found["deflated"].file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    bits = found["segments"]
    bits.SOPClassUID, bits.Rows, bits.Columns, bits.NumberOfFrames = SegmentationStorage, 3, 7, 5
    bits.BitsAllocated = bits.BitsStored = 1
    bits.HighBit = 0
    packed = np.packbits(BITS.reshape(-1), bitorder="little").tobytes()
    bits.PixelData = packed + bytes(len(packed) % 2)
    bits["PixelData"].VR = "OB"
    video = found["video"]
    video.NumberOfFrames, video.file_meta.TransferSyntaxUID = 25, MPEG4HP41
    video.PixelData = encapsulate([b"\0\0\0\x18ftypmp42" + bytes(99)], has_bot=False)
    video["PixelData"].VR = "OB"
    found["pdf"].EncapsulatedDocument, found["pdf"].MIMETypeOfEncapsulatedDocument = PDF + b"\0", "application/pdf"
    found["pdf"].EncapsulatedDocumentLength = len(PDF)
    for number, each in enumerate(found.values()):
        each.SeriesNumber = number
    return found


BITS = np.random.default_rng(5).integers(0, 2, (5, 3, 7), dtype=np.uint8)
IMAGES = images()


@pytest.fixture(scope="module")
def dicom(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp("retrieve-table") / "data"
    folder.mkdir()
    for name, found in IMAGES.items():
        (folder / f"{name}.dcm").write_bytes(written(found))
    (folder / "elsewhere.dcm").write_bytes(written(made()))
    index = str(folder.parent / "index.sqlite")
    with served(folder, dicomweb=True, dicom_index=index, dicom_slides=False) as client:
        until(lambda: len(client.get("/dicom/instances").json()) == len(IMAGES) + 1)
        yield client


def at(name: str) -> str:
    return place(IMAGES[name])


def frame(client: Client, name: str, number: int, accept: str = STORED) -> bytes:
    answer = client.get(f"{at(name)}/frames/{number}", {"accept": accept})
    assert answer.status == 200, answer.body[:300]
    ((_, data),) = received(answer)
    return data


def picture(answer: Answer, form: str = "JPEG") -> Image.Image:
    assert answer.status == 200, answer.body[:300]
    found = Image.open(io.BytesIO(answer.body))
    found.load()
    assert found.format == form
    return found


@pytest.mark.parametrize("below", ["", "/metadata", "/rendered", "/thumbnail", "/frames/1", "/bulk/7FE00010",
                                   "/frames/1/rendered"])  # fmt: skip
def test_r1_what_is_not_there_is_404_at_every_level(dicom: Client, below: str) -> None:
    found, table = IMAGES["ct"], IMAGES["table"]
    study, series, sop = found.StudyInstanceUID, found.SeriesInstanceUID, found.SOPInstanceUID
    wrong = [
        f"/dicom/studies/9.9/series/{series}/instances/{sop}",
        f"/dicom/studies/{study}/series/{table.SeriesInstanceUID}/instances/{sop}",
        f"/dicom/studies/{study}/series/{series}/instances/{table.SOPInstanceUID}",
        f"/dicom/studies/{study}/series/{series}/instances/9.9",
    ]
    if "frames" not in below and "bulk" not in below:
        wrong += ["/dicom/studies/9.9", f"/dicom/studies/{study}/series/9.9", f"/dicom/studies/9.9/series/{series}"]
    for path in wrong:
        answer = dicom.get(path + below)
        assert (answer.status, answer.error) == (404, "not_found"), path
    assert dicom.get(at("ct") + below).status == 200


@pytest.mark.parametrize(
    ("listed", "status"),
    [("0", 400), ("abc", 400), ("-1", 400), ("1,0", 400), ("1.5", 400), ("1,", 400), ("", 404), ("4", 404),
     ("1,4", 404),     ("99999999999999999999", 400), ("3", 200)],
)  # fmt: skip
def test_r2_numbers_of_frames(dicom: Client, listed: str, status: int) -> None:
    for name in ("ct", "table"):
        assert dicom.get(f"{at(name)}/frames/{listed}").status == status


def test_r3_ranges_of_frames_are_not_in_the_standard(dicom: Client) -> None:
    for listed in ("1,2-3", "1-3", "*"):
        assert dicom.get(f"{at('ct')}/frames/{listed}").status == 400


def test_r4_instances_without_pixels(dicom: Client) -> None:
    assert dicom.get(at("plain") + "/frames/1").status == 404
    assert dicom.get(at("plain") + "/rendered").status == 406
    assert dicom.get(at("plain") + "/bulk/7FE00010").status == 404
    assert dicom.get(at("plain")).status == dicom.get(at("plain") + "/metadata").status == 200


def test_r5_ranges_of_bulk_data(dicom: Client) -> None:
    path, whole = at("ct") + "/bulk/7FE00010", bytes(IMAGES["ct"].PixelData)
    accept = {"accept": "application/octet-stream"}
    plain = dicom.get(path, accept)
    assert (plain.body, plain.headers["accept-ranges"]) == (whole, "bytes")
    for asked, first, last in (("0-9", 0, 9), ("100-", 100, len(whole) - 1), ("-5", len(whole) - 5, len(whole) - 1),
                               ("10-999999999", 10, len(whole) - 1)):  # fmt: skip
        answer = dicom.get(path, {**accept, "range": f"bytes={asked}"})
        assert (answer.status, answer.body) == (206, whole[first : last + 1])
        assert answer.headers["content-range"] == f"bytes {first}-{last}/{len(whole)}"
    beyond = dicom.get(path, {**accept, "range": f"bytes={len(whole)}-"})
    assert (beyond.status, beyond.headers["content-range"]) == (416, f"bytes */{len(whole)}")
    for odd in ("bytes=1-2,4-5", "lines=1-2", "bytes=x-", "bytes=9-1"):
        assert dicom.get(path, {**accept, "range": odd}).status in {200, 416}
    document = dicom.get(at("pdf") + "/bulk/00420011", {"accept": "application/pdf"})
    assert document.body.rstrip(b"\0") == PDF


@pytest.mark.parametrize("path", ["/metadata", "/frames/1", "/rendered", "/thumbnail", "/frames/2/rendered"])
def test_r6_conditions(dicom: Client, path: str) -> None:
    first = dicom.get(at("ct") + path)
    etag = first.headers["etag"]
    for condition in (etag, f"W/{etag}", f'"x", {etag}', "*"):
        again = dicom.get(at("ct") + path, {"if-none-match": condition})
        assert (again.status, again.body, again.headers["etag"]) == (304, b"", etag)
    assert dicom.get(at("ct") + path, {"if-none-match": '"x"'}).status == first.status == 200
    assert dicom.get(at("table") + path, {"if-none-match": etag}).status == 200
    for query in ("/dicom/studies", "/dicom/studies?PatientID=P1"):
        etag = dicom.get(query).headers["etag"]
        assert dicom.get(query, {"if-none-match": etag}).status == 304


@pytest.mark.parametrize("path", ["", "/metadata", "/frames/1", "/rendered", "/thumbnail", "/bulk/7FE00010"])
def test_r7_head_is_get_without_its_body(dicom: Client, path: str) -> None:
    got, head = dicom.get(at("ct") + path), dicom.request("HEAD", at("ct") + path)
    assert (head.status, head.body) == (200, b"")
    same = set(got.headers) - {"date", "transfer-encoding"}
    for name in same:
        theirs, ours = got.headers[name], head.headers[name]
        assert theirs.partition("boundary=")[0] == ours.partition("boundary=")[0], name
    assert dicom.request("HEAD", "/dicom/studies/9.9/metadata").status == 404
    assert dicom.request("HEAD", "/dicom/studies").headers["content-type"] == "application/dicom+json"


def test_r8_pages_of_other_origins(dicom: Client) -> None:
    origin = {"origin": "https://viewer.example"}
    asked = {"access-control-request-method": "GET", "access-control-request-headers": "X-Trace, Accept,bad header"}
    for path in ("/dicom/studies", at("ct") + "/frames/1", "/dicom"):
        answer = dicom.request("OPTIONS", path, {**origin, **asked})
        assert answer.status == 200
        assert answer.headers["access-control-allow-origin"] == "*"
        assert answer.headers["access-control-allow-methods"] == "GET,HEAD,OPTIONS"
        assert set(answer.headers["access-control-allow-headers"].split(",")) == {
            "accept", "authorization", "content-type", "x-trace"
        }  # fmt: skip
        got = dicom.get(path + ("?requestType=WADO" if path == "/dicom" else ""), origin)
        assert got.headers["access-control-allow-origin"] == "*"
        assert {"content-location", "etag", "warning"} <= set(got.headers["access-control-expose-headers"].split(","))


def test_r9_texts_are_compressed_as_the_client_likes(dicom: Client) -> None:
    path = f"/dicom/studies/{STUDY}/metadata"
    plain = dicom.get(path)
    assert "content-encoding" not in plain.headers
    etags = {plain.headers["etag"]}
    for accepted, coding in (("gzip", "gzip"), ("gzip, deflate, br, zstd", "zstd"), ("zstd;q=0.5, gzip", "gzip"),
                             ("*", "zstd"), ("zstd;q=0, gzip;q=0.1", "gzip"), ("br", ""), ("identity, gzip;q=0.5", ""),
                             ("gzip;q=0", "")):  # fmt: skip
        for url in (path, "/dicom/instances"):
            answer = dicom.get(url, {"accept-encoding": accepted})
            assert answer.headers.get("content-encoding", "") == coding, accepted
            inflate = {"gzip": gzip.decompress, "zstd": imagecodecs.zstd_decode, "": bytes}[coding]
            assert bytes(inflate(answer.body)) == dicom.get(url).body
            vary = {each.strip() for each in answer.headers["vary"].split(",")}
            assert {"accept", "accept-encoding", "origin"} <= vary
            if url == path:
                etags.add(answer.headers["etag"])
    assert len(etags) == 3, "each form has an ETag of its own"
    pixels = dicom.get(at("ct") + "/frames/1", {"accept-encoding": "gzip, zstd"})
    assert "content-encoding" not in pixels.headers


@pytest.mark.parametrize(
    "query",
    ["window=1000,500", "window=1000,500,linear", "window=1000,500,linear-exact", "window=1000,500,sigmoid",
     "window=1000%2C500%2Csigmoid", "viewport=16,16", "viewport=16,16,8,8,16,16", "viewport=16,16,,,16,16", "quality=1",
     "quality=100", "annotation=patient", "annotation=patient,technique", "iccprofile=no", "iccprofile=yes",
     "iccprofile=srgb"],
)  # fmt: skip
def test_r10_what_may_be_asked_of_a_picture(dicom: Client, query: str) -> None:
    image = picture(dicom.get(f"{at('ct')}/rendered?{query}"))
    assert image.size == ((16, 16) if "viewport" in query else (32, 32))


@pytest.mark.parametrize(
    "query",
    ["window=1", "window=a,b", "window=1,2,cubic", "window=1,2,3,4", "viewport=0,0", "viewport=-1,5", "viewport=1",
     "viewport=1,2,3", "viewport=99999,99999", "viewport=16,16,0,0,0,0", "quality=0", "quality=101", "quality=x",
     "annotation=everything", "iccprofile=cmyk", "window=nan,inf"],
)  # fmt: skip
def test_r10_what_makes_no_sense_is_400(dicom: Client, query: str) -> None:
    assert dicom.get(f"{at('ct')}/rendered?{query}").status == 400


def test_r10_forms_of_pictures(dicom: Client) -> None:
    for name, form in (("jpeg", "JPEG"), ("png", "PNG"), ("gif", "GIF"), ("webp", "WEBP")):
        answer = dicom.get(f"{at('ct')}/frames/2/rendered", {"accept": f"image/{name}"})
        assert picture(answer, form).size == (32, 32)
        assert answer.headers["content-type"] == f"image/{name}"
    document = dicom.get(at("pdf") + "/rendered", {"accept": "application/pdf"})
    assert (document.headers["content-type"], document.body.rstrip(b"\0")) == ("application/pdf", PDF)
    assert dicom.get(at("ct") + "/frames/1,2/rendered").status == 400
    ramp = np.asarray(picture(dicom.get(f"{at('ct')}/rendered?window=512,1024", {"accept": "image/png"}), "PNG"))
    assert (np.diff(ramp.reshape(-1).astype(int)) >= 0).all()
    assert ramp.max() > 250 > 5 > ramp.min()


def test_r11_thumbnails(dicom: Client) -> None:
    series = at("ct").partition("/instances")[0]
    for path in (at("table"), series, f"/dicom/studies/{STUDY}", at("table") + "/frames/2"):
        answer = dicom.get(path + "/thumbnail")
        assert answer.headers["content-type"] == "image/jpeg"
        assert max(picture(answer).size) <= 200
        assert max(picture(dicom.get(path + "/thumbnail?viewport=20,20")).size) <= 20


def test_r13_deflated_files(dicom: Client) -> None:
    found = IMAGES["deflated"]
    assert frame(dicom, "deflated", 1, OCTETS) == found.PixelData
    assert dicom.get(at("deflated") + "/metadata").json()[0]["00080018"]["Value"] == [found.SOPInstanceUID]
    stored = dicom.get(at("deflated"), {"accept": "application/dicom; transfer-syntax=*"})
    assert stored.headers["content-type"].endswith(DeflatedExplicitVRLittleEndian)
    again = pydicom.dcmread(io.BytesIO(stored.body))
    assert again.PixelData == found.PixelData
    assert picture(dicom.get(at("deflated") + "/rendered")).size == (16, 16)


@pytest.mark.parametrize("name", ["table", "no table", "fragments", "extended"])
def test_r14_frames_are_found_however_they_are_listed(dicom: Client, name: str) -> None:
    for number, stream in enumerate(STREAMS, 1):
        assert frame(dicom, name, number).rstrip(b"\0") == stream.rstrip(b"\0"), number
        assert picture(dicom.get(f"{at(name)}/frames/{number}/rendered")).size == (256, 256)
    assert dicom.get(at(name) + "/frames/4").status == 404


def test_r14_a_video_is_one_frame(dicom: Client) -> None:
    answer = dicom.get(at("video") + "/frames/1", {"accept": STORED})
    ((headers, data),) = received(answer)
    assert headers["content-type"] == f"video/mp4; transfer-syntax={MPEG4HP41}"
    assert data.startswith(b"\0\0\0\x18ftyp")
    assert dicom.get(at("video") + "/rendered").status in {406, 415}


def test_r14_frames_of_single_bits_need_not_begin_with_a_byte(dicom: Client) -> None:
    for number, bits in enumerate(BITS, 1):
        packed = np.frombuffer(frame(dicom, "segments", number, OCTETS), np.uint8)
        assert packed.size == 3
        np.testing.assert_array_equal(np.unpackbits(packed, bitorder="little")[:21].reshape(3, 7), bits)


def test_methods_that_a_path_does_not_have(dicom: Client) -> None:
    paths: dict[str, Any] = {at("ct"): "deleted", f"/dicom/studies/{STUDY}": "deleted", "/dicom/studies": "deleted"}
    for path in paths:
        answer = dicom.request("DELETE", path)
        assert (answer.status, answer.error) == (405, "method_not_allowed")
        assert {each.strip() for each in answer.headers["allow"].split(",")} == {"GET", "HEAD", "OPTIONS"}
        assert paths[path] in answer.json()["message"]
    for method in ("POST", "PUT", "PATCH"):
        assert dicom.request(method, at("ct") + "/metadata").status == 405
        assert dicom.request(method, "/dicom").status == 405
    for method in ("GET", "POST", "PUT", "DELETE"):
        for path in ("/dicom/workitems", "/dicom/workitems/1.2.3", "/dicom/workitems/1.2.3/state",
                     "/dicom/workitems/1.2/subscribers/AE"):  # fmt: skip
            answer = dicom.request(method, path)
            assert (answer.status, answer.error) == (501, "not_implemented")
    assert dicom.get("/dicom/nothing").status == 404
