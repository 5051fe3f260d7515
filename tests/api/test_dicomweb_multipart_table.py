"""multipart/related both ways (PS3.18 §8.6, RFC 2046 §5.1): the rows M1 to M6 of what is expected, over HTTP."""

from __future__ import annotations

import email
import email.policy
import http.client
from collections.abc import Iterator, Sequence

import pytest
from pydicom.uid import generate_uid

from tests.dicommaker import BOUNDARY, CONTENT, made, message, parts, place, reasons, received, sent, written
from tests.serving import Answer, Client, served


@pytest.fixture(scope="module")
def dicom(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp("multipart-table") / "data"
    folder.mkdir()
    index = str(folder.parent / "index.sqlite")
    with served(folder, dicomweb=True, dicom_index=index, dicom_slides=False, dicom_store="received") as client:
        yield client


@pytest.fixture(scope="module")
def frames(dicom: Client) -> str:
    """The path of an instance of four frames whose bytes look like the ends of messages."""
    found = made(size=16)
    found.NumberOfFrames = 4
    pixels = b"".join((b"\r\n--%d--\r\n" % number * 100)[:512] for number in range(4))
    found.PixelData = pixels
    assert sent(dicom, message(written(found))).status == 200
    return place(found)


def posted(client: Client, body: bytes, content: str = CONTENT, **headers: str) -> Answer:
    return client.request("POST", "/dicom/studies", {"content-type": content, **headers}, body)


def test_m1_the_boundary_is_in_no_part_and_never_the_same(dicom: Client, frames: str) -> None:
    boundaries = set[str]()
    for _ in range(5):
        answer = dicom.get(f"{frames}/frames/1,2,3,4", {"accept": 'multipart/related; type="application/octet-stream"'})
        boundary = answer.headers["content-type"].partition("boundary=")[2]
        assert answer.body.count(boundary.encode()) == 5
        boundaries.add(boundary)
    assert len(boundaries) == 5


def test_m2_the_frame_of_a_message(dicom: Client, frames: str) -> None:
    for path, kind in ((f"{frames}/frames/1,2", "application/octet-stream"), (frames, "application/dicom"),
                       (f"{frames}/metadata", "application/dicom+xml"),
                       (f"{frames}/bulk/7FE00010", "application/octet-stream")):  # fmt: skip
        answer = dicom.get(path, {"accept": f'multipart/related; type="{kind}"'})
        assert answer.status == 200, path
        ours = [data for _, data in received(answer)]  # checks the first line, the ends of lines and the last line
        head = f"Content-Type: {answer.headers['content-type']}\r\n\r\n".encode()
        theirs = email.message_from_bytes(head + answer.body, policy=email.policy.HTTP)
        assert theirs.is_multipart()
        assert not theirs.defects
        assert len(list(theirs.iter_parts())) == len(ours)


def test_m3_headers_of_parts(dicom: Client, frames: str) -> None:
    for accepted in ("application/octet-stream", "*/*", "image/jls"):
        answer = dicom.get(f"{frames}/frames/2,4", {"accept": f'multipart/related; type="{accepted}"'})
        for (headers, data), number in zip(received(answer), (2, 4), strict=True):
            kind, _, syntax = headers["content-type"].partition("; transfer-syntax=")
            assert kind in {"application/octet-stream", "image/jls"}
            assert syntax.startswith("1.2.840.10008.1.2"), "viewers guess wrongly without it"
            assert headers["content-location"] == f"http://127.0.0.1:{dicom.port}{frames}/frames/{number}"
            assert headers["content-length"] == str(len(data))
    ((headers, _),) = received(
        dicom.get(f"{frames}/bulk/7FE00010", {"accept": 'multipart/related; type="application/octet-stream"'})
    )
    assert headers["content-location"].endswith(f"{frames}/bulk/7FE00010")


@pytest.mark.parametrize("numbers", [[1], [4, 3, 2, 1], [2, 2, 2], [3, 1, 3]])
def test_m4_frames_come_in_the_order_asked_and_as_often(dicom: Client, frames: str, numbers: Sequence[int]) -> None:
    listed = ",".join(map(str, numbers))
    answer = dicom.get(f"{frames}/frames/{listed}", {"accept": 'multipart/related; type="application/octet-stream"'})
    found = received(answer)
    for (headers, data), number in zip(found, numbers, strict=True):
        assert headers["content-location"].endswith(f"/frames/{number}")
        assert data.startswith(b"\r\n--%d--" % (number - 1))
        assert len(data) == 512


def test_m5_the_type_of_a_message_is_quoted(dicom: Client, frames: str) -> None:
    for path, kind in ((f"{frames}/frames/1", "application/octet-stream"), (frames, "application/dicom"),
                       (f"{frames}/metadata", "application/dicom+xml")):  # fmt: skip
        for asked in (f'multipart/related; type="{kind}"', f"multipart/related; type={kind}"):
            answer = dicom.get(path, {"accept": asked})
            assert answer.headers["content-type"].startswith(f'multipart/related; type="{kind}"; boundary=')


@pytest.mark.parametrize(
    "content",
    [
        'multipart/related; type="application/dicom"; boundary=a-boundary',
        "multipart/related; type=application/dicom; boundary=a-boundary",
        'multipart/related; boundary="a-boundary"; type="application/dicom"',
        'Multipart/Related;TYPE="Application/DICOM";BOUNDARY="a-boundary"',
        'multipart/related ; type="application/dicom" ; boundary=a-boundary ; start="<x>"',
        "multipart/related; boundary=a-boundary",
        'multipart/related; type="application/dicom; transfer-syntax=1.2.840.10008.1.2.1"; boundary=a-boundary',
    ],
)
def test_m6_content_types(dicom: Client, content: str) -> None:
    assert posted(dicom, message(written(made())), content).status == 200


def test_m6_what_stands_around_and_between_parts(dicom: Client) -> None:
    one, two = written(made()), written(made())
    line = b"--" + BOUNDARY.encode()
    plain = {"Content-Type": "application/dicom"}
    for body in (
        line + b"\r\n\r\n" + one + b"\r\n" + line + b"--",
        b"preamble\r\nof lines\r\n" + line + b"  \t\r\nContent-Type: application/dicom\r\n\r\n" + one + b"\r\n" + line
        + b"--  \r\nepilogue\r\n" + line + b"\r\nmore",
        parts((plain, one), (plain, two)).rstrip(b"\r\n"),
        parts(({"Content-Type": "application/dicom", "Content-Length": "7", "Content-Location": "x",
                "content-id": "<a@b>", "MIME-Version": "1.0", "X-Other": "1"}, one)),
        parts(({"Content-Type": "application/dicom;\r\n\ttransfer-syntax=1.2.840.10008.1.2.1"}, one)),
        parts(({"CONTENT-TYPE": "APPLICATION/DICOM"}, one)),
    ):  # fmt: skip
        assert posted(dicom, body).status == 200, body[:100]


def test_m6_boundaries_within_pixels(dicom: Client) -> None:
    found = made(size=32)
    line = b"--" + BOUNDARY.encode()
    found.PixelData = (line * 5 + b"\n" + line + b"--\r\n\r\r\n-" + line[2:] + b"\r\n--a-bound\r\n-").ljust(2048, b"\r")
    assert posted(dicom, message(written(found))).status == 200
    again = dicom.get(f"{place(found)}/frames/1", {"accept": 'multipart/related; type="application/octet-stream"'})
    assert received(again)[0][1] == found.PixelData


def test_m6_a_thousand_parts(dicom: Client) -> None:
    study = generate_uid()
    one = made(study)
    files: list[bytes] = []
    for _ in range(1000):
        one.SOPInstanceUID = generate_uid()
        files.append(written(one))
    answer = posted(dicom, message(*files))
    assert answer.status == 200
    assert len(answer.json()["00081199"]["Value"]) == 1000
    (found,) = dicom.get(f"/dicom/studies?StudyInstanceUID={study}").json()
    assert found["00201208"]["Value"] == [1000]


@pytest.mark.parametrize("step", [1, 7, 997, 65536])
def test_m6_chunked_bodies_however_they_are_cut(dicom: Client, step: int) -> None:
    found = made(size=8 if step < 10 else 64)
    body = message(written(found))
    connection = http.client.HTTPConnection("127.0.0.1", dicom.port, timeout=60)
    connection.request(
        "POST", "/dicom/studies", (body[at : at + step] for at in range(0, len(body), step)),
        {"content-type": CONTENT, "transfer-encoding": "chunked"}, encode_chunked=True,
    )  # fmt: skip
    assert connection.getresponse().status == 200
    connection.close()
    assert dicom.get(f"{place(found)}/metadata").status == 200


def test_m6_large_parts_are_streamed_through_little_memory(dicom: Client) -> None:
    """256 MB in one part: what the server holds of it is a few pieces, seen by the growth of its peak."""
    import resource

    head, size = written(made(size=16)), 256 << 20
    opening = b"--a-boundary\r\nContent-Type: application/dicom\r\n\r\n"
    zeros = bytes(1 << 20)

    def body() -> Iterator[bytes]:
        yield opening + head
        for _ in range(size >> 20):
            yield zeros
        yield b"\r\n--a-boundary--"

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    length = len(opening) + len(head) + size + 16
    connection = http.client.HTTPConnection("127.0.0.1", dicom.port, timeout=120)
    connection.request("POST", "/dicom/studies", body(), {"content-type": CONTENT, "content-length": str(length)})
    response = connection.getresponse()
    assert response.status in {200, 409}, "zeros behind a file are no data elements"
    response.read()
    connection.close()
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 64 << 10, f"{grown} kB"


def test_m6_messages_that_are_none_leave_nothing(dicom: Client) -> None:
    before = len(dicom.get("/dicom/instances?limit=9000").json())
    good, line = written(made()), b"--" + BOUNDARY.encode()
    for body in (b"no boundary", line, line + b"\r\n", line + b"\r\n\r\n" + good[:300], b"x" * 100_000):
        assert posted(dicom, body).status in {400, 413}, body[:50]
    assert len(dicom.get("/dicom/instances?limit=9000").json()) == before
    assert reasons(posted(dicom, line + b"\r\n\r\n\r\n" + line + b"--")) == [0xC000]
