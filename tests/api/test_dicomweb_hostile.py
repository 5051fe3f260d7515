"""Attacks that other servers fell to, over HTTP: each named by its CVE. Afterwards the server answers as before."""

from __future__ import annotations

import gzip
import http.client
import io
import json
import resource
import socket
import struct
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.fileset import FileSet
from pydicom.uid import JPEGBaseline8Bit, RLELossless, generate_uid

from tests.dicommaker import CONTENT, RELATED, made, message, parts, place, reasons, sent, written
from tests.serving import Answer, Client, served, until

CANARY = made(name="Canary")
JSON, XML = "application/dicom+json", "application/dicom+xml"
UNREADABLE = 0xC000
POST = f"POST /dicom/studies HTTP/1.1\r\nHost: x\r\nContent-Type: {CONTENT}\r\nContent-Length: {{}}\r\n\r\n"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("hostile")
    (root / "data").mkdir()
    (root / "data" / "canary.dcm").write_bytes(written(CANARY))
    (root / "secret.dcm").write_bytes(written(made(name="Secret")))
    return root


@pytest.fixture(scope="module")
def serving(root: Path) -> Iterator[Client]:
    index = str(root / "index.sqlite")
    with served(root / "data", dicomweb=True, dicom_index=index, dicom_slides=False, dicom_store="received",
                dicom_rescan=0.3) as client:  # fmt: skip
        until(lambda: len(client.get("/dicom/instances").json()) == 1)
        yield client


@pytest.fixture
def dicom(serving: Client) -> Iterator[Client]:
    """The server; when the attack is over it is alive, holds what it held, and has not grown much."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield serving
    assert serving.get(f"{place(CANARY)}/frames/1").status == 200
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 160 << 10, "kB more than before"


def store(client: Client, found: Dataset) -> Answer:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return sent(client, message(written(found)))


def refused(answer: Answer) -> bool:
    """A plain refusal: no mistake of the server, nothing of its inside."""
    assert answer.status in {400, 404, 406, 409, 413, 415}, (answer.status, answer.body[:200])
    assert b"Traceback" not in answer.body
    assert b"/tmp/" not in answer.body
    return True


def pixels_of(found: Dataset, client: Client) -> list[Answer]:
    assert store(client, found).status == 200
    lists = ('multipart/related; type="*/*"', 'multipart/related; type="application/octet-stream"')
    return [
        *(client.get(f"{place(found)}/frames/1", {"accept": each}) for each in lists),
        *(client.get(place(found) + below) for below in ("/rendered", "/thumbnail", "/frames/1/rendered", "")),
    ]


def bomb(head: bytes, filling: bytes, size: int = 64 << 20) -> bytes:
    """Much of the same in gzip, made without holding it."""
    deflate = zlib.compressobj(6, zlib.DEFLATED, 31)
    piece = filling * (1 << 20)
    return b"".join([deflate.compress(head), *(deflate.compress(piece) for _ in range(size >> 20)), deflate.flush()])


@pytest.mark.parametrize("length", [0, 1, 0xFFFF, 0xFFFFFFFE, 0xFFFFFFFF])
def test_cve_2026_5437_lengths_in_the_meta_header_lead_out_of_the_file(dicom: Client, length: int) -> None:
    data = bytearray(written(made()))
    for offset, form in ((140, "<I"), (132 + 12 + 8, "<I")):  # group length; (0002,0001) OB
        changed = bytearray(data)
        struct.pack_into(form, changed, offset, length & 0xFFFFFFFF)
        answer = sent(dicom, message(bytes(changed)))
        assert answer.status in {200, 409}
        assert answer.status == 200 or reasons(answer) == [UNREADABLE]
    for cut in range(128, 200, 7):
        assert reasons(sent(dicom, message(bytes(data[:cut])))) == [UNREADABLE]


def test_cve_2026_5438_a_gzip_bomb(dicom: Client) -> None:
    part = b"--a-boundary\r\n\r\n"
    for body in (bomb(b"", b"\0"), bomb(part, b"\0"), gzip.compress(bomb(part, b"\0"))):
        assert refused(sent(dicom, body, content_encoding="gzip"))
    assert refused(sent(dicom, gzip.compress(bomb(b"", b"\0")), content_encoding="gzip, gzip"))
    named = {"content-type": RELATED.format(JSON), "content-encoding": "gzip"}
    spaces = bomb(b"--a-boundary\r\nContent-Type: application/dicom+json\r\n\r\n[", b" ")
    assert refused(dicom.request("POST", "/dicom/studies", named, spaces))


def test_cve_2026_5439_a_zip_with_a_forged_size(dicom: Client) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("x.dcm", bytes(10 << 20))
    forged = bytearray(buffer.getvalue())
    struct.pack_into("<I", forged, 22, 0xFFFFFFF0)
    assert refused(dicom.request("POST", "/dicom/studies", {"content-type": "application/zip"}, bytes(forged)))
    assert reasons(sent(dicom, message(bytes(forged)))) == [UNREADABLE]
    assert reasons(sent(dicom, message(bytes(forged), kind="application/zip"))) == [UNREADABLE]


@pytest.mark.parametrize("length", [1 << 32, (1 << 63) - 1, 5 << 30])
def test_cve_2026_5440_an_enormous_content_length(dicom: Client, length: int) -> None:
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", dicom.port), timeout=30) as connection:
            connection.sendall(POST.format(length).encode() + b"--a-boundary\r\n\r\n" + bytes(1000))
    for odd in ("-1", "1e9", "99999999999999999999999", "5, 6"):
        with socket.create_connection(("127.0.0.1", dicom.port), timeout=30) as connection:
            head = (
                f"POST /dicom/studies HTTP/1.1\r\nHost: x\r\nContent-Type: {CONTENT}\r\nContent-Length: {odd}\r\n\r\n"
            )
            connection.sendall(head.encode())
            connection.shutdown(socket.SHUT_WR)
            answer = connection.recv(4096)
            assert answer == b"" or b" 400 " in answer.partition(b"\r\n")[0] or b" 413 " in answer.partition(b"\r\n")[0]


def test_cve_2026_5441_private_compression(dicom: Client) -> None:
    """Philips' PMSCT_RLE1 in private elements: nobody decodes it here, however it lies."""
    found = made()
    found.add_new(0x07A10010, "LO", "ELSCINT1")
    found.add_new(0x07A1100A, "OB", b"\xa5\xff\xff\x00\x5a" * 400)
    found.add_new(0x07A11011, "CS", "PMSCT_RLE1")
    del found.PixelData
    assert store(dicom, found).status == 200
    assert refused(dicom.get(f"{place(found)}/frames/1"))
    assert refused(dicom.get(f"{place(found)}/rendered"))
    assert dicom.get(f"{place(found)}/metadata").status == 200


@pytest.mark.parametrize(
    ("rows", "columns"), [(0x10000, 0x10000), (0xFFFFFFFF, 0xFFFFFFFF), (0x80000001, 2), (8, 1 << 31)]
)
def test_cve_2026_5442_dimensions_as_unsigned_long(dicom: Client, rows: int, columns: int) -> None:
    data = written(made())
    for tag, number in ((b"\x28\x00\x10\x00", rows), (b"\x28\x00\x11\x00", columns)):
        at = data.index(tag + b"US\x02\x00")
        data = data[:at] + tag + b"UL" + struct.pack("<HI", 4, number) + data[at + 10 :]
    answer = sent(dicom, message(data))
    assert answer.status in {200, 409}
    if answer.status == 200:
        (stored,) = answer.json()["00081199"]["Value"]
        where = stored["00081190"]["Value"][0].partition(str(dicom.port))[2]
        for below in ("/frames/1", "/rendered", "/thumbnail", "/frames/2"):
            assert refused(dicom.get(where + below))


def palette(entries: int, indices: np.ndarray, described: int | None = None) -> Dataset:  # type: ignore[type-arg]
    found = made()
    found.PhotometricInterpretation, found.BitsAllocated, found.BitsStored, found.HighBit = "PALETTE COLOR", 8, 8, 7
    found.Rows, found.Columns = indices.shape
    found.PixelData = indices.astype(np.uint8).tobytes()
    found["PixelData"].VR = "OB"
    for number, name in enumerate(("Red", "Green", "Blue")):
        setattr(found, f"{name}PaletteColorLookupTableDescriptor", [entries if described is None else described, 0, 8])
        table = (np.arange(entries) * (number + 1) * 16 % 256).astype(np.uint8).tobytes()
        setattr(found, f"{name}PaletteColorLookupTableData", table + bytes(len(table) % 2))
        found[f"{name}PaletteColorLookupTableData"].VR = "OW"
    return found


def test_cve_2026_5445_an_index_behind_the_palette_is_its_last_color(dicom: Client) -> None:
    indices = np.arange(256).reshape(16, 16)
    found = palette(4, indices)
    assert store(dicom, found).status == 200
    answer = dicom.get(f"{place(found)}/rendered", {"accept": "image/png"})
    shown = np.asarray(Image.open(io.BytesIO(answer.body)).convert("RGB")).reshape(-1, 3)
    colors = np.array([[n * 16, n * 32, n * 48] for n in range(4)])
    np.testing.assert_array_equal(
        shown, colors[np.minimum(np.arange(256), 3)], "nothing of the memory gets into pixels"
    )


@pytest.mark.parametrize("described", [0, 1, 65535, 8])
def test_cve_2026_5443_a_palette_shorter_than_it_says(dicom: Client, described: int) -> None:
    found = palette(4, np.arange(64).reshape(8, 8), described)
    for answer in pixels_of(found, dicom):
        assert answer.status == 200 or refused(answer)


def test_cve_2026_5444_another_picture_within_jpeg(dicom: Client) -> None:
    pam = b"P7\nWIDTH 65535\nHEIGHT 65535\nDEPTH 4\nMAXVAL 65535\nTUPLTYPE RGB_ALPHA\nENDHDR\n" + bytes(64)
    for stream in (pam, b"\xff\xd8\xff\xc0\x00\x11\x08\xff\xff\xff\xff\x03" + bytes(90), b"BM" + bytes(60), bytes(64)):
        found = made()
        found.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
        found.BitsAllocated, found.BitsStored, found.HighBit = 8, 8, 7
        found.PixelData = encapsulate([stream])
        found["PixelData"].VR = "OB"
        stored, *decoded = pixels_of(found, dicom)
        assert stored.status == 200
        assert all(refused(answer) for answer in decoded[:-1])


RLE_STREAMS = {
    "offsets behind the end": struct.pack("<16I", 2, 64, 0xFFFFFFF0, *[0] * 13) + bytes(8),
    "sixteen segments": struct.pack("<16I", 16, *[64] * 15) + bytes(8),
    "a run without its byte": struct.pack("<16I", 2, 64, 66, *[0] * 13) + b"\x81\x81",
    "a literal that is cut off": struct.pack("<16I", 2, 64, 65, *[0] * 13) + b"\x7f\x7f",
    "much more than the frame": struct.pack("<16I", 2, 64, 64, *[0] * 13) + b"\x81\0" * 5000,
    "no header": b"\x01\0",
}


@pytest.mark.parametrize("name", RLE_STREAMS)
def test_cve_2025_25474_and_cve_2019_1010228_rle_that_overflows(dicom: Client, name: str) -> None:
    found = made()
    found.file_meta.TransferSyntaxUID = RLELossless
    found.PixelData = encapsulate([RLE_STREAMS[name]])
    found["PixelData"].VR = "OB"
    stored, *decoded = pixels_of(found, dicom)
    assert stored.status == 200
    for answer in decoded:
        assert answer.status == 200 or refused(answer)
        if answer.headers["content-type"].startswith("multipart") and b"octet-stream" in answer.body:
            assert len(answer.body) < 1000, "a frame of 128 bytes, whatever the stream unfolds to"


def test_cve_2026_32711_a_dicomdir_that_leads_out_of_its_folder(dicom: Client, root: Path) -> None:
    folder = root / "data" / "media"
    files = FileSet()
    inside = made(name="Inside")
    inside.StudyDate, inside.StudyTime, inside.StudyID, inside.AccessionNumber = "20200101", "120000", "1", "2"
    inside.SeriesNumber = inside.InstanceNumber = 1
    files.add(inside)
    files.write(folder)
    files._stage["t"].cleanup()
    listing = (folder / "DICOMDIR").read_bytes()
    (name,) = (path.name for path in folder.rglob("*") if path.is_file() and path.name != "DICOMDIR")
    at = listing.index(b"\x04\x00\x00\x15CS") + 6  # Referenced File ID
    (length,) = struct.unpack_from("<H", listing, at)
    evil = b"..\\..\\secret.dcm".ljust(length)[:length]
    (folder / "DICOMDIR").write_bytes(listing[: at + 2] + evil + listing[at + 2 + length :])
    assert name
    until(lambda: len(dicom.get("/dicom/studies?PatientName=Inside").json()) == 1)
    assert dicom.get("/dicom/studies?PatientName=Secret").json() == []
    assert reasons(sent(dicom, message((folder / "DICOMDIR").read_bytes()))) == [UNREADABLE]


UIDS = ["../../../evil", "/etc/passwd", "..", ".", "1.2/../../x", "1.2\\..\\x", "1.2\0.3", "1.2\r\nX-Evil: 1",
        "$(reboot)", "CON", "1.2.3" + "4" * 200, "1.2%2f..%2f"]  # fmt: skip


@pytest.mark.parametrize("uid", UIDS)
@pytest.mark.parametrize("keyword", ["SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"])
def test_cve_2026_56445_and_cve_2022_2119_uids_are_no_paths(dicom: Client, root: Path, uid: str, keyword: str) -> None:
    """Also CVE-2022-2120 and CVE-2026-50003."""
    before = {path.parent for path in root.rglob("*")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = made()
        setattr(found, keyword, uid)
        found.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        data = written(found)
    answer = sent(dicom, message(data))
    assert answer.status in {200, 409}
    assert "x-evil" not in answer.headers
    assert b"\r\n" not in answer.body
    for path in {path.parent for path in root.rglob("*")} - before:
        assert path.parent == root / "data" / "received", "only folders with names of ours"
        assert len(path.name) == 2
    assert not (root.parent / "evil").exists()


@pytest.mark.parametrize(
    "path",
    ["..%2f..%2fsecret.dcm", "%2e%2e/%2e%2e/secret", "..;/x", "%00", "1.2%0d%0aX-Evil:%201", "%ff",
     "1.2/../../secret.dcm"],
)  # fmt: skip
def test_cve_2026_56445_paths_of_requests(dicom: Client, path: str) -> None:
    for target in (f"/dicom/studies/{path}", f"/dicom/studies/{path}/metadata", f"/dicom/studies/1/series/{path}",
                   f"{place(CANARY)}/bulk/{path}", f"{place(CANARY)}/frames/{path}",
                   f"/dicom?object={path}"):  # fmt: skip
        answer = dicom.get(target)
        assert answer.status in {400, 404, 405}, target
        assert "x-evil" not in answer.headers
        assert b"Secret" not in answer.body


def test_cve_2026_48710_a_poisoned_host(dicom: Client) -> None:
    for host in ("x/dicom?", "evil.example#", "a b", "[::1", 'x"><script>', "a\tb"):
        connection = http.client.HTTPConnection("127.0.0.1", dicom.port, timeout=30)
        connection.putrequest("GET", f"/dicom/studies?StudyInstanceUID={CANARY.StudyInstanceUID}", skip_host=True)
        connection.putheader("Host", host)
        connection.endheaders()
        response = connection.getresponse()
        body = response.read()
        connection.close()
        assert response.status in {200, 400}
        assert b"script" not in body
        if response.status == 200:
            (found,) = json.loads(body)
            assert found["00081190"]["Value"] == [f"/dicom/studies/{CANARY.StudyInstanceUID}"]


def test_cve_2025_62727_very_many_ranges(dicom: Client) -> None:
    ranges = "bytes=" + ",".join(f"{n}-{n + 1}" for n in range(5000))
    answer = dicom.get(
        f"{place(CANARY)}/bulk/7FE00010", {"accept": "application/octet-stream", "range": ranges[:60_000]}
    )
    assert answer.status in {200, 400, 416, 431}
    assert len(answer.body) < 1000


def test_cve_2025_54121_headers_of_parts_that_never_end(dicom: Client) -> None:
    line = b"--a-boundary\r\n"
    for head in (b"X: " + b"a" * (10 << 20), b"".join(b"X%d: y\r\n" % n for n in range(100_000)), b"\r" * (1 << 20)):
        assert refused(sent(dicom, line + head + b"\r\n\r\nx\r\n--a-boundary--"))
    assert refused(sent(dicom, b"x" * (4 << 20) + b"\r\n--a-boundary--"))
    empty = (line + b"\r\n\r\n") * 120_000 + b"--a-boundary--"
    assert refused(sent(dicom, empty))


@pytest.mark.parametrize("text", ["a\r\nX-Evil: 1", "a\nb", "a\r\n\r\n--a-boundary--", "\x00", "a\x1fb"])
def test_cve_2026_12143_line_breaks_in_multipart(dicom: Client, text: str) -> None:
    with socket.create_connection(("127.0.0.1", dicom.port), timeout=30) as connection:
        content = f'multipart/related; type="application/dicom"; boundary="{text}"'
        connection.sendall(
            f"POST /dicom/studies HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: {content}\r\n"
            "Content-Length: 0\r\n\r\n".encode("latin-1")
        )
        answer = connection.recv(4096)
    assert b"\r\nx-evil" not in answer.lower()
    assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 415"))
    body = b"--a-boundary\r\nContent-Type: application/dicom\r\nContent-Location: " + text.encode("latin-1")
    assert sent(dicom, body + b"\r\n\r\nx\r\n--a-boundary--").status in {400, 409}


def nested(depth: int) -> bytes:
    """A file whose sequences stand in each other, of undefined length."""
    data = written(made())
    at = data.index(b"\xe0\x7f\x10\x00OW")
    item = b"\x40\x00\x75\x02SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    end = b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0"
    return data[:at] + item * depth + end * depth + data[at:]


@pytest.mark.parametrize("depth", [60, 1000, 100_000])
def test_deep_nesting_of_sequences(dicom: Client, depth: int) -> None:
    answer = sent(dicom, message(nested(depth)))
    assert answer.status == (200 if depth == 60 else 409)


@pytest.mark.parametrize("depth", [1000, 200_000])
def test_deep_nesting_of_metadata(dicom: Client, depth: int) -> None:
    inner = '{"00400275":{"vr":"SQ","Value":[' * depth + "]}}" * depth
    answer = dicom.request(
        "POST",
        "/dicom/studies",
        {"content-type": RELATED.format(JSON)},
        parts(({"Content-Type": JSON}, inner.encode())),
    )
    assert reasons(answer) in ([UNREADABLE], [0xA700])
    xml = '<DicomAttribute tag="00400275" vr="SQ"><Item number="1">' * depth + "</Item></DicomAttribute>" * depth
    text = f"<NativeDicomModel>{xml}</NativeDicomModel>"
    answer = dicom.request(
        "POST", "/dicom/studies", {"content-type": RELATED.format(XML)}, parts(({"Content-Type": XML}, text.encode()))
    )
    assert reasons(answer) == [UNREADABLE]


ENTITIES = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;"><!ENTITY e SYSTEM "file:///etc/passwd">]>'


@pytest.mark.parametrize(
    "text",
    [ENTITIES + "<NativeDicomModel>&b;</NativeDicomModel>", "<a/>", "", "<NativeDicomModel",
     ENTITIES + "<NativeDicomModel>&e;</NativeDicomModel>"],
)  # fmt: skip
def test_entities_of_xml_are_not_expanded(dicom: Client, text: str) -> None:
    named = {"content-type": RELATED.format(XML)}
    answer = dicom.request("POST", "/dicom/studies", named, parts(({"Content-Type": XML}, text.encode())))
    assert (answer.status, reasons(answer)) == (409, [UNREADABLE])


@pytest.mark.parametrize(
    "query",
    ["viewport=4294967297,4294967297", "viewport=65500,65500,0,0,1e12,1e12", "viewport=1e9,1", "window=1e308,1e308",
     "quality=4294967396", "window=-1e99,1e-99"],
)  # fmt: skip
def test_cve_2021_46389_numbers_that_overflow(dicom: Client, query: str) -> None:
    answer = dicom.get(f"{place(CANARY)}/rendered?{query}")
    assert answer.status == 200 or refused(answer)
    assert len(answer.body) < 1 << 20
