"""Instances that are not shown at all, because no treatment of attributes takes the identity out of them."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

from microtome.dicom.deidentify import wellknown
from microtome.dicom.rows import SOP_CLASS, Attributes

_CLASS: Final = "1.2.840.10008.5.1.4.1.1."
_DOCUMENTS: Final = (
    f"{_CLASS}88.",  # structured reports, key object selections
    f"{_CLASS}104.",  # encapsulated PDF, CDA, STL ...
    f"{_CLASS}9.4.",  # voices
    f"{_CLASS}66",  # raw data: private in all but name
    "1.2.840.10008.1.3.10",  # DICOMDIR: names of files
)
_UNMARKED: Final = frozenset({
    f"{_CLASS}3.1", f"{_CLASS}6.1", f"{_CLASS}6.2", f"{_CLASS}6.3",  # ultrasound
    f"{_CLASS}3", f"{_CLASS}6",  # and its older classes
    f"{_CLASS}7", f"{_CLASS}7.1", f"{_CLASS}7.2", f"{_CLASS}7.3", f"{_CLASS}7.4",  # secondary capture
    f"{_CLASS}77.1.1", f"{_CLASS}77.1.1.1",  # endoscopy
    f"{_CLASS}77.1.2.1",  # video microscopy
    f"{_CLASS}77.1.4", f"{_CLASS}77.1.4.1",  # photographs
    f"{_CLASS}77.1.5.1", f"{_CLASS}77.1.5.2", f"{_CLASS}77.1.5.4",  # photographs of the eye, and tomography of it
    f"{_CLASS}77.1.7", f"{_CLASS}77.1.7.1",  # photographs of the skin
})  # fmt: skip
"""Classes whose makers often write into the picture."""
_SLIDE: Final = f"{_CLASS}77.1.6"
_OF_TISSUE: Final = frozenset({"VOLUME", "THUMBNAIL", "RESAMPLED", "NONE"})
_BURNED_IN, _IMAGE_TYPE, _LABEL_IN_IMAGE = "00280301", "00080008", "00480010"
_PIXELS: Final = ("7FE00008", "7FE00009", "7FE00010")


def withheld(header: Attributes, *, unmarked: bool) -> bool:
    """Whether an instance (DICOM JSON model) does not exist for who sees no identities.

    ``unmarked``: show ultrasound, photographs and captured screens that do not say whether text is burned in.
    """
    sop_class = _text(header, SOP_CLASS)
    if not _is_shown_class(sop_class) or _text(header, _LABEL_IN_IMAGE) == "YES":
        return True
    burned_in = _text(header, _BURNED_IN)
    if burned_in not in {"", "NO"}:
        return True
    if sop_class in _UNMARKED and not burned_in and not unmarked and any(tag in header for tag in _PIXELS):
        return True
    kinds = {str(each).strip().upper() for each in header.get(_IMAGE_TYPE, {}).get("Value") or ()}
    if kinds & {"LABEL", "OVERVIEW"} or (sop_class == _SLIDE and not kinds & _OF_TISSUE):
        return True
    return _overlay_in_pixels(header)


@lru_cache(maxsize=512)
def _is_shown_class(uid: str) -> bool:
    """Classes of the standard, documents aside. What a vendor's class holds nobody can tell."""
    return wellknown.is_sop_class(uid) and not uid.startswith(_DOCUMENTS)


def _overlay_in_pixels(header: Attributes) -> bool:
    """Whether an overlay lies in the high bits of the pixels (PS3.5 §8.1.2, retired), where it would stay."""
    planes = {tag[:4] for tag in header if "6000" <= tag[:4] < "6100"}
    return any(
        (f"{plane}0010" in header and f"{plane}3000" not in header) or _text(header, f"{plane}0100") not in {"", "1"}
        for plane in planes
    )


def _text(header: Attributes, tag: str) -> str:
    values: list[Any] = header.get(tag, {}).get("Value") or [""]
    return str(values[0] or "").strip().upper()
