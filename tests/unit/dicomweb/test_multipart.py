"""multipart/related: what is written is what the standard library's and our own parser read; bodies nobody meant."""

from __future__ import annotations

import email.parser
import email.policy
import tracemalloc
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microtome.api.dicomweb.multipart import (
    Event,
    Limits,
    Parser,
    PartBegins,
    PartData,
    PartEnds,
    Writer,
    related,
)
from microtome.errors import InvalidRequest, LimitExceeded, UnsupportedFormat

Parts = list[tuple[dict[str, str], bytes]]


def _collect(events: Iterable[Event], parts: Parts) -> None:
    for event in events:
        match event:
            case PartBegins(headers):
                parts.append((dict(headers), b""))
            case PartData(data):
                assert data
                parts[-1] = (parts[-1][0], parts[-1][1] + data)
            case PartEnds():
                parts[-1][0]["(ended)"] = "yes"


def read(body: bytes, boundary: bytes = b"b", *, step: int | None = None, limits: Limits | None = None) -> Parts:
    parser = Parser(boundary, limits or Limits())
    parts: Parts = []
    for at in range(0, len(body), step or max(1, len(body))):
        _collect(parser.feed(body[at : at + (step or len(body))]), parts)
    _collect(parser.close(), parts)
    assert all(headers.pop("(ended)", "") == "yes" for headers, _ in parts)
    return parts


def written(contents: list[bytes], boundary: str | None = None) -> tuple[str, bytes]:
    writer = Writer("application/octet-stream", boundary=boundary)
    body = b"".join(
        writer.opening(
            "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1", location=f"/frames/{n}", length=len(each)
        )
        + each
        for n, each in enumerate(contents, 1)
    )
    return writer.content_type, body + writer.closing()


@pytest.mark.parametrize("contents", [[], [b""], [b"a", b"a", b""], [b"\r\n", b"--", b"\r\n--", b"x\r\n"]])
def test_what_is_written_is_read_by_the_standard_library(contents: list[bytes]) -> None:
    content_type, body = written(contents)
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(
        b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + body
    )
    assert message.get_param("type") == "application/octet-stream"
    parts = [part for part in message.walk() if not part.is_multipart()] if contents else []
    # The library makes text of what it parses and line ends its own, so only what is in one line can be compared.
    assert len(parts) == len(contents)
    for n, part in enumerate(parts, 1):
        assert part["Content-Location"] == f"/frames/{n}"
        assert part.get_param("transfer-syntax") == "1.2.840.10008.1.2.1"
    assert 'type="application/octet-stream"; boundary=' in content_type
    assert body.startswith(b"--")
    assert body.endswith(b"--\r\n")


def test_each_message_has_its_own_boundary() -> None:
    assert len({Writer("application/dicom").content_type for _ in range(50)}) == 50


@pytest.mark.parametrize("text", ["a\r\nSet-Cookie: x", "a\nb", "a\0b"])
def test_line_breaks_cannot_get_into_headers(text: str) -> None:
    with pytest.raises(InvalidRequest):
        Writer("application/dicom").opening("application/dicom", location=text)
    with pytest.raises(InvalidRequest):
        Writer("application/dicom").opening(text)
    with pytest.raises(InvalidRequest):
        Writer(text)


_TRICKY = st.lists(st.sampled_from([b"\r", b"\n", b"-", b"b", b"--b", b"\r\n--", b"\r\n--bb", b"x", b"\0"])).map(
    b"".join
)


@given(st.lists(_TRICKY.filter(lambda data: b"\r\n--b" not in data and not data.startswith(b"--b")), min_size=1),
       st.integers(1, 9))  # fmt: skip
def test_contents_survive_however_the_body_is_cut(contents: list[bytes], step: int) -> None:
    body = written(contents, "b")[1]
    assert [data for _, data in read(body, step=step)] == contents


@given(st.lists(st.sampled_from([b"\r\n", b"--b", b"--", b" ", b"a: 1", b"\r", b"-", b"x"]), max_size=25))
def test_how_a_body_is_cut_never_changes_what_is_read(pieces: list[bytes]) -> None:
    body = b"".join(pieces)

    def outcome(step: int | None) -> Parts | str:
        try:
            return read(body, step=step)
        except InvalidRequest as error:
            return error.message

    assert outcome(1) == outcome(None) == outcome(3)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"--b\r\n\r\nx\r\n--b--", [b"x"]),  # no line break at the end
        (b"--b\r\n\r\nx\r\n--b--\r\n", [b"x"]),
        (b"preamble\r\n--b\r\n\r\nx\r\n--b--\r\nepilogue\r\n--b\r\n\r\ny", [b"x"]),
        (b"\r\n--b\r\n\r\nx\r\n--b--\r\n", [b"x"]),
        (b"--b \t \r\n\r\nx\r\n--b-- \r\n", [b"x"]),  # transport padding
        (b"--b\r\n\r\n--bx\r\n--bb\r\nmore\r\n--b--", [b"--bx\r\n--bb\r\nmore"]),  # lines that begin alike
        (b"--b\r\n\r\nx--b\r\ny\n--b\r\n\r\n--b--", [b"x--b\r\ny\n--b\r\n"]),  # the boundary without its line break
        (b"--b\r\n\r\n\r\n\r\n--b--", [b"\r\n"]),
        (b"--b\r\nA: 1\r\n\r\n--b\r\nA: 2\r\n\r\n\r\n--b--", [b"", b""]),  # both ways to write nothing
        (b"--b--", []),
        (b"--b\r\n\r\n\r\n--b-\r\n--b--", [b"\r\n--b-"]),
        (b"--b\r\nContent-Length: 99999999999\r\n\r\nx\r\n--b--", [b"x"]),  # believed by nobody
        (b"--b\r\nContent-Length: 0\r\n\r\nx\r\n--b--", [b"x"]),
    ],
)
def test_forms_of_messages(body: bytes, expected: list[bytes]) -> None:
    for step in (None, 1, 2, 5):
        assert [data for _, data in read(body, step=step)] == expected


def test_headers() -> None:
    body = b'--b\r\nContent-TYPE:application/dicom;\r\n\ttype="x"\r\nContent-Location:   /a/b \r\n\r\nx\r\n--b--'
    assert read(body) == [({"content-type": 'application/dicom; type="x"', "content-location": "/a/b"}, b"x")]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no boundary at all",
        b"--b\r\n\r\nx",
        b"--b\r\n\r\nx\r\n--b",
        b"--b\r\n\r\nx\r\n--b\r\n",
        b"--b\r\nA: 1",
        b"--b\r\nno colon\r\n\r\nx\r\n--b--",
        b"--b\r\nA : 1\r\n\r\nx\r\n--b--",
        b"--b\r\nA: 1\rB: 2\r\n\r\nx\r\n--b--",
        b"--b\r\nA: 1\nB: 2\r\n\r\nx\r\n--b--",
        b"--b\r\nA: \0\r\n\r\nx\r\n--b--",
        b"--b\r\nContent-Type: a/b\r\ncontent-type: c/d\r\n\r\nx\r\n--b--",
        b"--b\nA: 1\n\nx\n--b--\n",
    ],
)
def test_broken_messages(body: bytes) -> None:
    for step in (None, 1):
        with pytest.raises(InvalidRequest):
            read(body, step=step)


@pytest.mark.parametrize(
    ("limits", "name"),
    [
        (Limits(total=50), "multipart total"),
        (Limits(part=9), "multipart part"),
        (Limits(parts=2), "multipart parts"),
        (Limits(headers=10), "multipart headers"),
        (Limits(header_lines=1), "multipart header_lines"),
        (Limits(preamble=3), "multipart preamble"),
    ],
)
def test_limits(limits: Limits, name: str) -> None:
    body = b"preamble\r\n" + b"\r\n".join([b"--b\r\nAbc: 1\r\nDef: 2\r\n\r\n" + b"x" * 10] * 3) + b"\r\n--b--"
    for step in (None, 1):
        with pytest.raises(LimitExceeded) as caught:
            read(body, step=step, limits=limits)
        assert caught.value.limit == name
    assert len(read(body, limits=Limits(total=1000, part=10, parts=3, header_lines=2, preamble=10))) == 3


def test_endless_headers_are_stopped_early() -> None:
    parser = Parser(b"b")
    list(parser.feed(b"--b\r\n"))
    for _ in range(16):
        assert not list(parser.feed(b"A: " + b"x" * 1000))
    with pytest.raises(LimitExceeded):
        list(parser.feed(b"A: " + b"x" * 1000))


def test_a_thousand_parts() -> None:
    contents = [str(n).encode() * (n % 7) for n in range(1000)]
    content_type, body = written(contents)
    found = related(content_type)
    assert found.root == "application/octet-stream"
    parts = read(body, found.boundary, step=1000)
    assert [data for _, data in parts] == contents
    assert parts[999][0]["content-location"] == "/frames/1000"


def test_a_part_of_any_size_passes_in_constant_memory() -> None:
    chunk = (b"\r\n--boundar" + bytes(range(256))) * 256
    parser = Parser(b"boundary")
    list(parser.feed(b"--boundary\r\nContent-Type: application/dicom\r\n\r\n"))
    length = 0
    tracemalloc.start()
    try:
        for _ in range(500):
            length += sum(len(event.data) for event in parser.feed(chunk) if isinstance(event, PartData))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    events = [*parser.feed(b"\r\n--boundary--"), *parser.close()]
    length += sum(len(event.data) for event in events if isinstance(event, PartData))
    assert length == 500 * len(chunk)
    assert isinstance(events[-1], PartEnds)
    assert peak < 10 * len(chunk)


@pytest.mark.parametrize(
    ("text", "boundary", "root"),
    [
        ('multipart/related; type="application/dicom"; boundary=abc', b"abc", "application/dicom"),
        ("multipart/related; type=application/dicom; boundary=abc", b"abc", "application/dicom"),
        ('Multipart/Related;Boundary="a b:c=?";TYPE="Application/DICOM+json"', b"a b:c=?", "application/dicom+json"),
        ('multipart/related; boundary="--x"', b"--x", ""),
        ('multipart/related; boundary=x; type="image/jpeg; transfer-syntax=1.2"', b"x", "image/jpeg"),
        ("multipart/related ; boundary = x ; type=a/b;", b"x", "a/b"),
        (r'multipart/related; boundary="a\"b"', b'a"b', ""),
    ],
)
def test_content_types(text: str, boundary: bytes, root: str) -> None:
    found = related(text)
    assert (found.boundary, found.root) == (boundary, root)


@pytest.mark.parametrize("text", [None, "", "application/dicom", "multipart/form-data; boundary=x", "text/plain", "/"])
def test_other_content_types(text: str | None) -> None:
    with pytest.raises(UnsupportedFormat):
        related(text)


@pytest.mark.parametrize(
    "text",
    [
        "multipart/related",
        "multipart/related; boundary=",
        'multipart/related; boundary=""',
        'multipart/related; boundary="x "',
        "multipart/related; boundary=" + "x" * 201,
        'multipart/related; boundary="ä"',
    ],
)
def test_boundaries_that_are_none(text: str) -> None:
    with pytest.raises(InvalidRequest):
        related(text)
