"""The profile applied to data sets: as they are read from files, and as the index keeps them (DICOM JSON model).

Both ways give the same: what becomes of an element, and of its values, is decided once for both.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import Any, Final, cast

from microtome.dicom import build, dictionary
from microtome.dicom.dataset import Dataset, Element, LargeSequence
from microtome.dicom.deidentify import moments, wellknown
from microtome.dicom.deidentify.icc import without_texts
from microtome.dicom.deidentify.profile import Action, action_of
from microtome.dicom.deidentify.pseudonyms import Pseudonyms
from microtome.dicom.json import to_json
from microtome.dicom.rows import Attributes

_PATIENT_ID, _PATIENT_NAME, _STUDY = 0x0010_0020, 0x0010_0010, 0x0020_000D
_OWN: Final = frozenset({_STUDY, 0x0020_000E, 0x0008_0018})
"""UIDs of the instance itself and its parents, which are never those of the standard, whatever a file says."""
_WHOLE: Final = frozenset({"LT", "ST", "UT", "UR"})
_BINARY: Final = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
METHOD: Final = "PS3.15 Annex E Basic Profile, dates modified, by microtome"


@dataclass(frozen=True, slots=True)
class _Patient:
    """What all data sets of a patient share."""

    name: str
    offset: timedelta


class Deidentifier:
    """Data sets without identities. Knows nothing but a key."""

    def __init__(self, pseudonyms: Pseudonyms) -> None:
        self._pseudonyms = pseudonyms

    def document(self, header: Attributes) -> dict[str, Any]:
        """A data set of the DICOM JSON model; the paths of its bulk data stay as they are."""
        patient = self._patient(_first(header, _PATIENT_ID), _first(header, _PATIENT_NAME), _first(header, _STUDY))
        return dict(sorted({**self._object(header, patient), **_marks()[1]}.items()))

    def dataset(self, header: Dataset) -> Dataset:
        """A data set as it was read; large values are still in the file."""
        patient = self._patient(*(header.string(tag) for tag in (_PATIENT_ID, _PATIENT_NAME, _STUDY)))
        found = dict(self._elements(header, patient).elements)
        found.update((element.tag, element) for element in _marks()[0])
        return Dataset(dict(sorted(found.items())), header.text)

    def item(self, header: Dataset) -> Callable[[Dataset], Dataset]:
        """What is done to each item of the large sequences of a data set as it was read."""
        patient = self._patient(*(header.string(tag) for tag in (_PATIENT_ID, _PATIENT_NAME, _STUDY)))
        return lambda item: self._elements(item, patient)

    def _patient(self, number: str, name: str, study: str) -> _Patient:
        """Who it is, by what there is: patient ID, else the name, else the study."""
        name = "=".join(part.strip("^ ") for part in name.split("=") if part)
        kind, who = next((each for each in (("id", number), ("name", name)) if each[1]), ("study", study))
        who = f"{kind}\0{who}"
        return _Patient(self._pseudonyms.text("patient", who), self._pseudonyms.offset(who))

    # -- values ------------------------------------------------------------------------------------------------------

    def _values(
        self,
        field: tuple[int, str, Action],
        values: Sequence[str],
        patient: _Patient,
        beside: Callable[[int], Sequence[str]],
    ) -> list[str]:
        """What stands in place of text values; empty ones stay empty. ``beside`` reads another element of the item."""
        tag, vr, action = field
        match action:
            case Action.UID:
                return [self._uid(tag, each) for each in values]
            case Action.PATIENT:
                return [patient.name if each else "" for each in values[:1]]
            case Action.PSEUDONYM:
                kind = dictionary.keyword(tag)
                return [self._pseudonyms.text(kind, each) if each else "" for each in values]
            case _:
                return _moved(tag, vr, values, patient.offset, beside)

    def _uid(self, tag: int, real: str) -> str:
        if not real or (tag not in _OWN and wellknown.is_known(real)):
            return real
        return self._pseudonyms.uid(real)

    # -- the JSON model ----------------------------------------------------------------------------------------------

    def _object(self, header: Attributes, patient: _Patient) -> dict[str, Any]:
        found: dict[str, Any] = {}

        def beside(tag: int) -> Sequence[str]:
            return _texts(header.get(f"{tag:08X}", {}))

        for name, element in header.items():
            tag, vr = int(name, 16), element.get("vr", "")
            match action := action_of(tag, vr):
                case Action.REMOVE:
                    pass
                case Action.KEEP:
                    found[name] = element
                case Action.EMPTY:
                    found[name] = {"vr": vr}
                case Action.ITEMS if "BulkDataURI" in element:
                    found[name] = element  # a large sequence, whose items are treated when they are read
                case Action.ITEMS:
                    items = [self._object(item or {}, patient) for item in element.get("Value") or ()]
                    found[name] = {"vr": vr, "Value": items} if items else {"vr": vr}
                case Action.PROFILE:
                    found[name] = _clean_profile(element)
                case _ if "BulkDataURI" not in element and vr not in _BINARY:
                    made = self._values((tag, vr, action), _texts(element), patient, beside)
                    wrapped = [{"Alphabetic": each} if vr == "PN" and each else each or None for each in made]
                    found[name] = {"vr": vr, "Value": wrapped} if any(made) else {"vr": vr}
                case _:
                    pass
        return found

    # -- data sets ---------------------------------------------------------------------------------------------------

    def _elements(self, header: Dataset, patient: _Patient) -> Dataset:
        found: dict[int, Element] = {}
        for tag, element in header.elements.items():
            vr, value = element.vr, element.value
            match action := action_of(tag, vr):
                case Action.REMOVE:
                    pass
                case Action.KEEP:
                    found[tag] = element
                case Action.EMPTY:
                    found[tag] = Element(tag, vr, () if vr == "SQ" else b"")
                case Action.ITEMS if isinstance(value, tuple):
                    found[tag] = Element(tag, vr, tuple(self._elements(item, patient) for item in value))
                case Action.ITEMS if isinstance(value, LargeSequence):
                    found[tag] = element
                case Action.PROFILE:
                    found[tag] = Element(tag, vr, without_texts(value)) if isinstance(value, bytes) else element
                case _ if isinstance(value, bytes) and vr not in _BINARY:
                    made = self._values((tag, vr, action), header.strings(tag), patient, header.strings)
                    text = "\\".join(made).encode("ascii", "replace") if any(made) else b""
                    found[tag] = Element(tag, vr, text + (b"\0" if vr == "UI" else b" ") * (len(text) % 2))
                case _:
                    pass
        return Dataset(found, header.text)


def _moved(
    tag: int, vr: str, values: Sequence[str], by: timedelta, beside: Callable[[int], Sequence[str]]
) -> list[str]:
    """Dates and times that belong together (PS3.3 names them alike) are moved as one moment."""
    if vr == "DT":
        return [moments.date_time(each, by) if each else "" for each in values]
    other = _counterpart(tag)
    others = beside(other) if other is not None else ()
    found: list[str] = []
    for number, each in enumerate(values):
        partner = others[number] if number < len(others) else ""
        if not each:
            found.append("")
        elif vr == "DA":
            found.append(moments.pair(each, partner, by)[0] if partner else moments.date(each, by))
        else:
            found.append(moments.pair(partner, each, by)[1] if partner else moments.time(each, by))
    return found


@lru_cache(maxsize=512)
def _counterpart(tag: int) -> int | None:
    """StudyTime of StudyDate, and the other way round."""
    keyword = dictionary.keyword(tag)
    other = keyword.replace("Date", "Time") if "Date" in keyword else keyword.replace("Time", "Date")
    found = dictionary.tag(other) if other != keyword else None
    return found if found is not None and dictionary.vr(found) in {"DA", "TM"} else None


@lru_cache(maxsize=1)
def _marks() -> tuple[Dataset, Mapping[str, Any]]:
    """What says that this was done (PS3.15 §E.1.1, PS3.16 CID 7050), as elements and as JSON."""
    codes = (
        ("113100", "Basic Application Confidentiality Profile"),
        ("113107", "Retain Longitudinal Temporal Information Modified Dates Option"),
    )
    marks = build.item({
        "PatientIdentityRemoved": "YES",
        "DeidentificationMethod": METHOD,
        "DeidentificationMethodCodeSequence": [build.code(value, "DCM", meaning)[0] for value, meaning in codes],
        "LongitudinalTemporalInformationModified": "MODIFIED",
    })  # fmt: skip
    return marks, to_json(marks)


def _texts(element: Mapping[str, Any]) -> list[str]:
    values = cast("Sequence[Any]", element.get("Value") or ())
    return [_text(each).strip(" \0") for each in values]


def _text(value: object) -> str:
    if isinstance(value, dict):
        return "=".join(cast("Mapping[str, str]", value).values())
    return "" if value is None else str(value)


def _first(header: Attributes, tag: int) -> str:
    return next(iter(_texts(header.get(f"{tag:08X}", {}))), "")


def _clean_profile(element: Mapping[str, Any]) -> dict[str, Any]:
    if "InlineBinary" not in element:
        return dict(element)
    data = without_texts(b64decode(element["InlineBinary"]))
    return {**element, "InlineBinary": b64encode(data).decode("ascii")}
