"""Which files OpenSlide is asked for before others."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from microtome.formats.openslide import OpenSlideFormat, signature
from tests.unit.openslide.makers import mirax, vms

PHILIPS = '<?xml version="1.0"?><DataObject ObjectType="DPUfsImport"></DataObject>'
LEICA = '<?xml version="1.0"?><scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01"></scn>'
WHOLE_SLIDE = b"1.2.840.10008.5.1.4.1.1.77.1.6"


def tiff(**options: Any) -> bytes:
    buffer = io.BytesIO()
    layout = {key: options.pop(key) for key in ("byteorder", "bigtiff") if key in options}
    with tifffile.TiffWriter(buffer, **layout) as writer:
        writer.write(np.zeros((64, 64), np.uint8), tile=(16, 16), metadata=None, **options)
    return buffer.getvalue()


def dicom(uid: bytes) -> bytes:
    return bytes(128) + b"DICM" + b"\2\0\2\0UI" + len(uid).to_bytes(2, "little") + uid + b"\2\0\3\0UI\2\x001\0"


@pytest.mark.parametrize("layout", [{}, {"byteorder": ">"}, {"bigtiff": True}, {"byteorder": ">", "bigtiff": True}])
@pytest.mark.parametrize(
    ("vendor", "options"),
    [
        ("philips", {"software": "Philips DP v1.0"}),
        ("philips", {"description": PHILIPS}),
        ("leica", {"description": LEICA}),
        ("trestle", {"software": "MedScan", "description": "Objective Power=20"}),
        ("ventana", {"extratags": [(700, 1, 20, b"<xmp><iScan/></xmp> ", True)]}),
        ("hamamatsu", {"extratags": [(65420, 4, 1, 1, True)]}),
        (None, {"description": "Aperio Image Library v11|AppMag = 20"}),
        (None, {"software": "tifffile", "description": f"made of {LEICA[:20]}"}),
    ],
)
def test_tiff_of_vendors(vendor: str | None, options: dict[str, Any], layout: dict[str, Any]) -> None:
    data = tiff(**options, **layout)
    assert signature.vendor(data, "slide.tif") == vendor
    assert OpenSlideFormat().recognises(data, "slide.tif") == (vendor is not None)


@pytest.mark.parametrize(("suffix", "vendor"), [("NDPI", "hamamatsu"), ("scn", "leica"), ("Bif", "ventana")])
def test_suffixes_of_vendors_need_a_tiff(suffix: str, vendor: str) -> None:
    assert signature.vendor(tiff(), f"slide.{suffix}") == vendor
    assert signature.vendor(b"no TIFF at all", f"slide.{suffix}") is None


def test_slides_of_many_files() -> None:
    slide = mirax("a.b")
    assert signature.vendor(slide["a.b.mrxs"], "a.b.mrxs") == "mirax"
    assert signature.vendor(slide["a.b.mrxs"], "a.b.jpg") is None
    assert signature.parts(slide["a.b.mrxs"], "a.b.mrxs") == ["a.b/"]
    slide = vms("x 1")
    assert signature.vendor(slide["x 1.vms"], "x 1.vms") == "hamamatsu"
    assert set(signature.parts(slide["x 1.vms"], "x 1.vms")) >= set(slide) - {"x 1.vms"}
    assert signature.parts(b"[Virtual Microscope Specimen]\nImageFile(0,1)=a(0,1).jpg\n", "a.vms") == ["a(0,1).jpg"]
    assert signature.parts(b"[Virtual Microscope Specimen]\nImageFile=../a.jpg\nMapFile=/b.jpg\n", "a.vms") == []


@pytest.mark.parametrize(
    ("head", "name", "vendor"),
    [
        (dicom(WHOLE_SLIDE), "1.dcm", "dicom"),
        (dicom(WHOLE_SLIDE), "no suffix", "dicom"),
        (dicom(WHOLE_SLIDE + b".1"), "1.dcm", None),
        (dicom(b"1.2.840.10008.5.1.4.1.1.2"), "ct.dcm", None),
        (b"ZISRAWFILE\0\0", "a.czi", None),
        (b"SQLite format 3\0", "a.svslide", "sakura"),
        (b"SQLite format 3\0", "a.mbtiles", None),
        (b"\x89PNG\r\n\x1a\n", "a.png", None),
        (b"", "a.mrxs", None),
    ],
)
def test_other_signatures(head: bytes, name: str, vendor: str | None) -> None:
    assert signature.vendor(head, name) == vendor


@pytest.mark.parametrize(
    ("names", "slide"),
    [
        (list(mirax("a")), ["a.mrxs"]),
        (["a.mrxs"], []),
        (["a.mrxs", "a/Slidedat.ini", "b.mrxs", "b/Slidedat.ini"], []),
        (list(vms("a")), ["a.vms"]),
        (["1.dcm", "2.DCM", "notes.txt", "deeper/3.dcm"], ["1.dcm", "2.DCM"]),
        (["deeper/3.dcm"], []),
        (["Slidedat.ini", "Data0000.dat"], []),
        ([], []),
    ],
)
def test_folders(names: list[str], slide: list[str]) -> None:
    assert signature.slide_in(names) == slide
    assert OpenSlideFormat().recognises_folder(names) == bool(slide)


MAGIC = st.sampled_from(
    [b"", b"II*\0", b"MM\0*", b"II+\0\x08\0\0\0", b"MM\0+", bytes(128) + b"DICM", b"BM", b"\xff\xd8"]
)
NAMES = st.one_of(st.text(max_size=20), st.sampled_from(["a.ndpi", "a.mrxs", ".vms", "a.", "a.vmu", "."]))


@given(MAGIC, st.binary(max_size=300), NAMES)
def test_nothing_makes_it_raise(magic: bytes, rest: bytes, name: str) -> None:
    head = magic + rest
    assert OpenSlideFormat().recognises(head, name) == (signature.vendor(head, name) is not None)
    signature.parts(head, name)
    signature.slide_in([name])


@given(st.integers(0, 400), st.binary(min_size=1, max_size=8))
def test_damage_to_a_real_header_does_not_make_it_raise(at: int, damage: bytes) -> None:
    data = bytearray(tiff(description=PHILIPS)[:600])
    data[at : at + len(damage)] = damage
    OpenSlideFormat().recognises(bytes(data), "a.tiff")
