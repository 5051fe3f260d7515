"""Content negotiation: the rows A1 to A16 of the conformance table, and what lists of clients in the field ask for."""

from __future__ import annotations

import pytest

from microtome.api.dicomweb import accept, media
from microtome.api.dicomweb.accept import METADATA, RENDERED, Frames, Instances, Stored, choose
from microtome.errors import InvalidRequest, NotAcceptable

EXPLICIT = "1.2.840.10008.1.2.1"
IMPLICIT = "1.2.840.10008.1.2"
BIG = "1.2.840.10008.1.2.2"
DEFLATED = "1.2.840.10008.1.2.1.99"
RLE = "1.2.840.10008.1.2.5"
JPEG, JPEG_12, JPEG_57, JPEG_70, JLS, JLS_NEAR, J2K, J2K_LOSSY, HTJ2K = (
    f"1.2.840.10008.1.2.4.{n}" for n in (50, 51, 57, 70, 80, 81, 90, 91, 201)
)
VIDEO = "1.2.840.10008.1.2.4.102"
ALL = frozenset({EXPLICIT, RLE, JPEG, JPEG_70, JLS, JLS_NEAR, J2K, J2K_LOSSY, HTJ2K})


def related(name: str, syntax: str | None = None) -> str:
    return f'multipart/related; type="{name}"' + (f"; transfer-syntax={syntax}" if syntax else "")


def frame(header: str | None, stored: str = EXPLICIT, count: int = 1, targets: frozenset[str] = ALL) -> Frames:
    return accept.frames(accept.parse(header), Stored(stored, targets), count)


def sent(header: str | None, *stored: str, targets: frozenset[str] = ALL) -> Instances:
    return accept.instances(accept.parse(header), [Stored(each, targets) for each in stored])


def document(header: str | None, *query: str) -> tuple[str, bool]:
    found = choose(accept.parse(header, query), METADATA)
    return found.media_type, found.multipart


def rendered(header: str | None, *query: str) -> str:
    return choose(accept.parse(header, query), RENDERED).media_type


@pytest.mark.parametrize("header", [None, "", "  ", "*/*", "application/*;q=0.1", "text/html, */*;q=0.5"])
def test_a1_a2_the_default_of_a_category(header: str | None) -> None:
    assert document(header) == ("application/dicom+json", False)
    assert sent(header, IMPLICIT).syntaxes == (EXPLICIT,)
    assert frame(header) == Frames("application/octet-stream", EXPLICIT, multipart=header != "application/*;q=0.1")


@pytest.mark.parametrize("header", [None, "*/*", "image/*", "image/*;q=0.2, text/html"])
def test_a2_rendered(header: str | None) -> None:
    assert rendered(header) == "image/jpeg"


@pytest.mark.parametrize(
    "other",
    [
        "foo/bar",
        "nonsense",
        "a/b;q=7",
        "image/png;q",
        "/",
        ";;;",
        'x/y; z="',
        ",,,",
        "multipart/related; type=",
        "a b/c",
    ],
)
def test_a3_bad_entries_beside_a_good_one(other: str) -> None:
    assert document(f"{other}, application/json")[0] == "application/json"
    assert document(f"application/json , {other}")[0] == "application/json"


def test_a4_nothing_that_fits() -> None:
    for header in ("foo/bar", "nonsense", "application/dicom", "application/json;q=0", "image/tiff"):
        with pytest.raises(NotAcceptable) as caught:
            document(header)
        assert "application/dicom+json" in caught.value.available
    with pytest.raises(NotAcceptable):
        frame("image/tiff")
    with pytest.raises(NotAcceptable):
        sent("application/json", EXPLICIT)
    with pytest.raises(NotAcceptable):
        rendered("text/html")


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("application/json;q=0.5, application/dicom+json;q=0.4", "application/json"),
        ("APPLICATION/JSON", "application/json"),
        ("application/json;Q=0.1, */*;q=0.01", "application/json"),
        ("application/dicom+json;q=0, */*", "application/json"),
        ('application/json;charset="utf-8";q=1.0', "application/json"),
        ("*/*, application/json;q=0.9, application/dicom+json;q=0.2", "application/dicom+xml"),
        ("application/json, application/dicom+json", "application/json"),
        ("application/dicom+json, application/json", "application/dicom+json"),
    ],
)
def test_a5_weights_and_spelling(header: str, expected: str) -> None:
    assert document(header)[0] == expected


def test_a5_parameters_with_and_without_quotes() -> None:
    for header in (
        "multipart/related; type=application/octet-stream; transfer-syntax=*",
        'multipart/related;type="application/octet-stream";transfer-syntax="*"',
        'Multipart/Related; Transfer-Syntax="*"; Type="Application/Octet-Stream"',
        'multipart/related; type="application/octet-stream; transfer-syntax=*"',
    ):
        assert frame(header, JPEG) == Frames("application/octet-stream", JPEG, multipart=True)


def test_a6_the_query_parameter_goes_first() -> None:
    assert document("application/dicom+json", "application/json")[0] == "application/json"
    assert rendered("image/jpeg", "image/png") == "image/png"
    assert rendered("*/*", "image/foo") == "image/jpeg"
    assert rendered(None, "image/foo", "image/gif") == "image/gif"
    with pytest.raises(NotAcceptable):
        rendered(None, "image/foo")


def test_a7_a8_documents() -> None:
    assert document("application/json") == ("application/json", False)
    assert document(related("application/dicom+xml")) == ("application/dicom+xml", True)
    assert document(related("*/*")) == ("application/dicom+xml", True)
    with pytest.raises(NotAcceptable):
        document(related("application/dicom+json"))


@pytest.mark.parametrize("header", [None, "*/*", related("application/dicom"), "multipart/related"])
def test_a9_instances_by_default(header: str | None) -> None:
    stored = (IMPLICIT, EXPLICIT, BIG, DEFLATED, RLE, J2K, JPEG, JLS_NEAR, J2K_LOSSY)
    expected = (EXPLICIT,) * 6 + (JPEG, JLS_NEAR, J2K_LOSSY)
    assert sent(header, *stored) == Instances(expected, multipart=True)
    # Too long for explicit lengths, or no decoder: as it is.
    assert sent(header, J2K, targets=frozenset()).syntaxes == (J2K,)


def test_a9_a_single_part() -> None:
    assert sent("application/dicom", RLE) == Instances((EXPLICIT,), multipart=False)
    with pytest.raises(NotAcceptable):
        sent("application/dicom", RLE, RLE)
    assert sent(f"application/dicom, {related('application/dicom')};q=0.1", RLE, RLE).multipart


def test_a10_as_stored() -> None:
    for header in (related("application/dicom", "*"), related("*/*"), "application/dicom;transfer-syntax=*"):
        for stored in (EXPLICIT, DEFLATED, RLE, J2K, JPEG, VIDEO):
            assert sent(header, stored, targets=frozenset()).syntaxes == (stored,)
        for stored in (IMPLICIT, BIG):
            assert sent(header, stored).syntaxes == (EXPLICIT,)


def test_a11_a12_a_transfer_syntax() -> None:
    assert sent(related("application/dicom", JLS), RLE, EXPLICIT, JLS).syntaxes == (JLS,) * 3
    assert frame(related("image/jls", JLS_NEAR)) == Frames("image/jls", JLS_NEAR, multipart=True)
    assert frame(related("application/octet-stream", EXPLICIT), JPEG).syntax == EXPLICIT
    assert frame(related("image/jp2", J2K), JPEG).part_type == f"image/jp2; transfer-syntax={J2K}"
    for syntax in (IMPLICIT, BIG, "1.2.3", VIDEO):
        with pytest.raises(NotAcceptable):
            sent(related("application/dicom", syntax), IMPLICIT)
        with pytest.raises(NotAcceptable):
            frame(related("application/octet-stream", syntax), IMPLICIT)
    with pytest.raises(NotAcceptable):
        frame(related("image/jpeg", J2K))  # a syntax of another type
    with pytest.raises(NotAcceptable):
        frame(related("image/jls", JLS), VIDEO, targets=frozenset())
    # One instance that cannot be converted makes the entry unfit, another entry may fit.
    both = f"{related('application/dicom', J2K)}, {related('application/dicom', '*')};q=0.5"
    assert sent(both, RLE, targets=frozenset({EXPLICIT})).syntaxes == (RLE,)


def test_a13_jpeg_without_a_transfer_syntax() -> None:
    header = related("image/jpeg")
    assert frame(header, JPEG).part_type == f"image/jpeg; transfer-syntax={JPEG}"
    assert frame(header, JPEG_12).syntax == JPEG_12
    assert frame(header, EXPLICIT).syntax == JPEG_70
    assert frame(header, JPEG_57).syntax == JPEG_70
    assert frame(header, J2K_LOSSY).syntax == JPEG_70
    assert frame(related("image/jpeg", JPEG), EXPLICIT).syntax == JPEG


def test_a14_parts_of_any_type() -> None:
    header = related("*/*")
    assert frame(header, EXPLICIT) == Frames("application/octet-stream", EXPLICIT, multipart=True)
    assert frame(header, BIG) == Frames("application/octet-stream", EXPLICIT, multipart=True)
    assert frame(header, J2K) == Frames("image/jp2", J2K, multipart=True)
    assert frame(header, VIDEO, targets=frozenset()).media_type == "video/mp4"


def test_what_is_lossy_is_not_unpacked_unasked() -> None:
    assert frame("*/*", JPEG) == Frames("image/jpeg", JPEG, multipart=True)
    assert frame("*/*", J2K).syntax == EXPLICIT
    assert frame(related("application/octet-stream"), JPEG).syntax == EXPLICIT


def test_a15_mixtures() -> None:
    for header in ("application/dicom, image/png", "image/png;q=0.1, application/octet-stream", "image/gif, image/jls"):
        for ask in (sent, frame):
            with pytest.raises(InvalidRequest):
                ask(header, EXPLICIT)
        with pytest.raises(InvalidRequest):
            rendered(header)
    browser = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8"
    assert rendered(browser) == "image/webp"
    assert accept.frames(accept.parse(browser, ["application/octet-stream"]), Stored(RLE, ALL), 1).syntax == EXPLICIT
    assert frame(browser).syntax == EXPLICIT


@pytest.mark.parametrize(
    ("name", "syntax"),
    [("image/dicom-rle", RLE), ("image/jls", JLS), ("image/jp2", J2K), ("image/jphc", HTJ2K), ("image/jpeg", JPEG_70)],
)
def test_a16_defaults_of_the_image_types(name: str, syntax: str) -> None:
    assert frame(related(name)) == Frames(name, syntax, multipart=True)
    assert frame(related(name, "*")).syntax == syntax
    assert frame(name, count=1) == Frames(name, syntax, multipart=False)
    with pytest.raises(NotAcceptable):
        frame(name, count=2)


def test_single_frame_wildcards() -> None:
    assert frame("image/*", J2K) == Frames("image/jp2", J2K, multipart=False)
    assert frame("image/*").syntax == JPEG_70
    assert frame("video/*", VIDEO, targets=frozenset()).media_type == "video/mp4"
    with pytest.raises(NotAcceptable):
        frame("video/*")


OHIF = (
    f'multipart/related; type="image/jls"; transfer-syntax={JLS}, multipart/related; type="image/jls";'
    f' transfer-syntax={JLS_NEAR}, multipart/related; type="image/jp2"; transfer-syntax={J2K}, multipart/related;'
    f' type="image/jp2"; transfer-syntax={J2K_LOSSY}, multipart/related; type="application/octet-stream";'
    f' transfer-syntax=*, multipart/related; type="image/jpeg"; transfer-syntax={JPEG}'
)


def test_lists_of_viewers_get_what_is_stored() -> None:
    for stored, media_type in (
        (JPEG, "application/octet-stream"),
        (J2K, "image/jp2"),
        (JLS_NEAR, "image/jls"),
        (RLE, "application/octet-stream"),
    ):
        assert frame(OHIF, stored) == Frames(media_type, stored, multipart=True)
    assert frame(OHIF, BIG) == Frames("application/octet-stream", EXPLICIT, multipart=True)
    slices = "multipart/related; type=application/octet-stream; transfer-syntax=*"
    assert frame(slices, HTJ2K).part_type == f"application/octet-stream; transfer-syntax={HTJ2K}"


def test_excluded_forms_are_not_sent() -> None:
    header = f"{related('*/*')}, {related('image/jpeg')};q=0"
    with pytest.raises(NotAcceptable):
        frame(header, JPEG)
    assert frame(header, J2K).syntax == J2K
    assert sent("application/dicom;q=0.5, multipart/related;q=0.7", RLE).multipart


def test_hostile_fields() -> None:
    with pytest.raises(NotAcceptable):
        document(", ".join(["a/b"] * 150) + ", */*")  # behind the entries that are read
    with pytest.raises(NotAcceptable):
        document("a/b;" * 10_000)
    with pytest.raises(NotAcceptable):
        document('"' * 8000)
    with pytest.raises(NotAcceptable):
        document("a/b; c=" + '"\\' * 4000)


def test_media_types_are_written_as_they_are_read() -> None:
    text = 'multipart/related; type="application/dicom"; x="a\\"b\\\\c"'
    found = media.parse(text)
    assert found is not None
    assert str(found) == text
    assert media.parse(str(found)) == found
    assert list(media.elements('a/b; c="x,y", ,d/e')) == ['a/b; c="x,y"', "d/e"]
