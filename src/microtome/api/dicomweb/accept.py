"""Which representation a client gets (PS3.18 §8.7): its Accept field and ``accept`` parameters against what there is.

Entries that are malformed or unknown are passed over. An absent field is answered like ``*/*`` with the default of the
resource: the standard says 406 there, and too many clients leave it out. What is stored is preferred to what would have
to be converted, among entries the client likes equally.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Generic, Protocol, TypeVar

from microtome.api.dicomweb import media
from microtome.dicom import syntaxes
from microtome.dicom.syntaxes import EXPLICIT_LITTLE
from microtome.dicom.syntaxes import JPEG_LOSSLESS_SV1 as JPEG_LOSSLESS
from microtome.errors import InvalidRequest, NotAcceptable

DICOM = "application/dicom"
OCTETS = "application/octet-stream"
JSON = "application/dicom+json"
XML = "application/dicom+xml"
ZIP = "application/zip"


def _frame_types() -> Mapping[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for syntax in sorted(syntaxes.ALL.values(), key=lambda each: not each.default):
        if syntax.media_type != OCTETS:
            found[syntax.media_type.lower()] = (*found.get(syntax.media_type.lower(), ()), syntax.uid)
    older = {"image/x-dicom-rle": found["image/dicom-rle"], "image/x-jls": found["image/jls"]}
    return MappingProxyType(found | older)


FRAME_TYPES = _frame_types()
"""Media types of compressed frames and their transfer syntaxes, the default first (PS3.18 tables 8.7.3-2 to -5).

Names of older editions are among them.
"""

_QUALITY = re.compile(r"0(\.[0-9]{0,3})?|1(\.0{0,3})?")
_MAX_ENTRIES = 100

_RENDERED_ONLY = frozenset({"image/png", "image/gif", "image/webp", "image/avif", "application/pdf", "video/mp4"})
_DICOM_ONLY = frozenset({DICOM, OCTETS, JSON, XML, ZIP, "image/dicom-rle", "image/jls", "image/jpx", "image/jphc"})


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a list. ``name`` may be a pattern; of multipart/related it is the type of the parts.

    ``multipart`` is None for ``*/*``, which says nothing about it. ``typed`` is false for a multipart without a type.
    """

    name: str
    multipart: bool | None
    typed: bool
    syntax: str | None
    quality: float

    def specificity(self, name: str, syntax: str | None, *, multipart: bool) -> int:
        """How closely this entry describes a representation; 0 when it does not at all."""
        if self.multipart is not None and self.multipart != multipart:
            return 0
        if self.syntax not in {None, "*", syntax}:
            return 0
        if self.name == name:
            return 5 if self.syntax not in {None, "*"} else 4
        family, _, rest = self.name.partition("/")
        if rest != "*" or family not in {"*", name.partition("/")[0]}:
            return 0
        return 1 if self.multipart is None else 2 if family == "*" else 3


@dataclass(frozen=True, slots=True)
class Accept:
    """What a client accepts. The lists of the query go first, and the header's counts when nothing in them fits.

    None: there was no list.
    """

    query: tuple[Entry, ...] | None
    header: tuple[Entry, ...] | None

    def lists(self) -> tuple[tuple[Entry, ...], ...]:
        """Lists to try, one after the other; one of a mere ``*/*`` when there is none."""
        given = tuple(each for each in (self.query, self.header) if each is not None)
        return given or ((_ANYTHING,),)


_ANYTHING = Entry("*/*", None, typed=True, syntax=None, quality=1.0)


def parse(header: str | None, query: Sequence[str] = ()) -> Accept:
    """Read an Accept field (several are joined by commas) and the decoded values of ``accept`` parameters."""
    asked = ",".join(query)
    return Accept(_entries(asked) if asked.strip() else None, _entries(header) if header and header.strip() else None)


@functools.lru_cache(maxsize=256)
def _entries(text: str) -> tuple[Entry, ...]:
    found: list[Entry] = []
    for part in media.elements(text):
        entry = _entry(part)
        if entry is not None:
            found.append(entry)
        if len(found) == _MAX_ENTRIES:
            break
    return tuple(found)


def _entry(text: str) -> Entry | None:
    outer = media.parse(text)
    if outer is None or not _QUALITY.fullmatch(quality := outer.parameters.get("q", "1")):
        return None
    syntax = outer.parameters.get("transfer-syntax")
    if outer.family != "multipart":
        anything = outer.name == "*/*"
        return Entry(outer.name, None if anything else False, typed=True, syntax=syntax, quality=float(quality))
    if outer.name not in {"multipart/related", "multipart/*"}:
        return None
    inner = media.parse(outer.parameters["type"]) if "type" in outer.parameters else media.MediaType("*/*")
    if inner is None:
        return None
    # Some put the transfer syntax into the quotes of the type.
    syntax = syntax or inner.parameters.get("transfer-syntax")
    typed = "type" in outer.parameters
    return Entry(inner.name, multipart=True, typed=typed, syntax=syntax, quality=float(quality))


# Representations whose kind is a matter of the media type alone


@dataclass(frozen=True, slots=True)
class Offer:
    """A representation there is. ``media_type`` is the parts' in a multipart one."""

    media_type: str
    multipart: bool = False


METADATA = (Offer(JSON), Offer("application/json"), Offer(XML, multipart=True))
RENDERED = (Offer("image/jpeg"), Offer("image/png"), Offer("image/gif"), Offer("image/webp"))


class _Answer(Protocol):
    @property
    def media_type(self) -> str: ...
    @property
    def multipart(self) -> bool: ...


_A = TypeVar("_A", bound=_Answer)


@dataclass(frozen=True, slots=True)
class _Candidate(Generic[_A]):
    answer: _A
    syntax: str | None
    cost: int
    """What it costs the server: 0 for what is stored."""
    order: int


def choose(accept: Accept, offers: Sequence[Offer]) -> Offer:
    """The best of ``offers``, whose first is the default. Raises NotAcceptable, InvalidRequest."""
    _refuse_mixtures(accept)

    def candidates(entries: tuple[Entry, ...]) -> Iterable[_Candidate[Offer]]:
        for place, offer in enumerate(offers):
            for order, entry in enumerate(entries):
                if entry.specificity(offer.media_type, None, multipart=offer.multipart):
                    exact = entry.name == offer.media_type
                    yield _Candidate(offer, None, 0, order if exact else len(entries) + place)

    return _best(accept, candidates, tuple(str(offer.media_type) for offer in offers))


# DICOM


@dataclass(frozen=True, slots=True)
class Stored:
    """An instance: its transfer syntax and those its pixel data can be converted to.

    Explicit VR Little Endian is not among them when the pixel data would be too long for it, or cannot be decoded. An
    instance without pixel data can be converted to the uncompressed ones alone.
    """

    syntax: str
    targets: frozenset[str]

    @property
    def lossy(self) -> bool:
        """Whether the pixel data is held in a form that lost something."""
        return syntaxes.find(self.syntax).lossy

    @property
    def native(self) -> bool:
        """Whether the samples are not compressed one frame at a time."""
        return not syntaxes.find(self.syntax).encapsulated


@dataclass(frozen=True, slots=True)
class Instances:
    """How instances are sent: one transfer syntax for each."""

    syntaxes: tuple[str, ...]
    multipart: bool
    media_type: str = DICOM


@dataclass(frozen=True, slots=True)
class Frames:
    """How frames are sent. ``part_type`` is the Content-Type of each, transfer syntax included."""

    media_type: str
    syntax: str
    multipart: bool

    @property
    def part_type(self) -> str:
        """Cornerstone reads the transfer syntax here and guesses when it is missing."""
        return f"{self.media_type}; transfer-syntax={self.syntax}"


def instances(accept: Accept, stored: Sequence[Stored]) -> Instances:
    """How whole instances are sent (PS3.18 §8.7.3.1). Raises NotAcceptable, InvalidRequest.

    A single part, without multipart around it, is possible for a single instance that is asked for in this form; a ZIP
    file for any number of them.
    """
    _refuse_mixtures(accept)

    def candidates(entries: tuple[Entry, ...]) -> Iterable[_Candidate[Instances]]:
        for order, entry in enumerate(entries):
            zipped = entry.name == ZIP and entry.multipart is False
            if not zipped and entry.name not in {DICOM, "application/*", "*/*"}:
                continue
            if not zipped and entry.multipart is False and len(stored) != 1:
                continue
            chosen = _instance_syntaxes(entry, stored)
            if chosen is not None:
                kind = ZIP if zipped else DICOM
                answer = Instances(chosen, multipart=entry.multipart is not False, media_type=kind)
                converted = any(each != instance.syntax for each, instance in zip(chosen, stored, strict=True))
                yield _Candidate(answer, entry.syntax, int(converted), order)

    return _best(accept, candidates, (DICOM, ZIP))


def _instance_syntaxes(entry: Entry, stored: Sequence[Stored]) -> tuple[str, ...] | None:
    as_stored = entry.syntax == "*" or (entry.multipart is True and entry.typed and entry.name == "*/*")
    found: list[str] = []
    for instance in stored:
        if entry.syntax is not None and entry.syntax != "*":
            target = _converted(entry.syntax, instance)
        elif as_stored:
            target = syntaxes.as_sent(instance.syntax)
        elif instance.lossy or (not instance.native and EXPLICIT_LITTLE not in instance.targets):
            target = instance.syntax
        else:
            target = EXPLICIT_LITTLE
        if target is None:
            return None
        found.append(target)
    return tuple(found)


def _converted(wanted: str, stored: Stored) -> str | None:
    possible = wanted == stored.syntax or wanted in stored.targets
    return wanted if possible and wanted not in syntaxes.NOT_SENT else None


def frames(accept: Accept, stored: Stored, count: int) -> Frames:
    """How ``count`` frames are sent (PS3.18 §8.7.3.3 and tables 8.7.3-2 to -5). Raises NotAcceptable, InvalidRequest.

    ``*/*`` gives uncompressed samples, or what is stored when that lost something; ``multipart/related; type="*/*"``
    and ``transfer-syntax=*`` give what is stored. A media type without a transfer syntax means the default one of the
    type, unless the data is held in another one of the type that lost something.
    """
    _refuse_mixtures(accept)

    def candidates(entries: tuple[Entry, ...]) -> Iterable[_Candidate[Frames]]:
        for order, entry in enumerate(entries):
            if entry.multipart is False and count != 1:
                continue
            for name, syntax in _frame_forms(entry, stored):
                same = syntax == stored.syntax or (syntax == EXPLICIT_LITTLE and stored.native)
                answer = Frames(name, syntax, multipart=entry.multipart is not False)
                yield _Candidate(answer, syntax, 0 if same else 1, order)

    return _best(accept, candidates, (OCTETS, *sorted(FRAME_TYPES)))


def _frame_forms(entry: Entry, stored: Stored) -> Iterable[tuple[str, str]]:
    """Media types and transfer syntaxes an entry allows and the server has, the best first."""
    servable = EXPLICIT_LITTLE if stored.native else stored.syntax
    own = (syntaxes.find(servable).media_type, servable)
    decodable = servable == EXPLICIT_LITTLE or EXPLICIT_LITTLE in stored.targets
    match entry.name:
        case "*/*" | "application/*":
            as_stored = entry.syntax == "*" or (entry.multipart is True and entry.typed)
            if entry.name == "*/*" and (as_stored or stored.lossy or not decodable):
                if entry.syntax in {None, "*", servable}:
                    yield own
            elif entry.syntax in {None, "*", EXPLICIT_LITTLE}:
                if decodable:
                    yield OCTETS, EXPLICIT_LITTLE
            elif entry.name == "*/*" and _converted(str(entry.syntax), stored):
                yield syntaxes.find(str(entry.syntax)).media_type, str(entry.syntax)
        case "application/octet-stream":
            if entry.syntax == "*" or entry.syntax == servable:
                yield OCTETS, servable
            elif entry.syntax in {None, EXPLICIT_LITTLE} and decodable:
                yield OCTETS, EXPLICIT_LITTLE
        case "image/*" | "video/*":
            if own[0].startswith(entry.name[:-1]) and entry.syntax in {None, "*", servable}:
                yield own
            elif entry.name == "image/*" and entry.syntax in {None, "*"} and JPEG_LOSSLESS in stored.targets:
                yield "image/jpeg", JPEG_LOSSLESS
        case name:
            of_type = FRAME_TYPES.get(name, ())
            if servable in of_type and (entry.syntax in {"*", servable} or (entry.syntax is None and stored.lossy)):
                yield name, servable
            elif entry.syntax in {None, "*"}:
                if of_type and _converted(of_type[0], stored):
                    yield name, of_type[0]
            elif entry.syntax in of_type and _converted(str(entry.syntax), stored):
                yield name, str(entry.syntax)


# Choosing


class _Candidates(Protocol[_A]):
    def __call__(self, entries: tuple[Entry, ...], /) -> Iterable[_Candidate[_A]]: ...


def _best(accept: Accept, candidates: _Candidates[_A], available: tuple[str, ...]) -> _A:
    for entries in accept.lists():
        best: tuple[float, int, int] | None = None
        answer: _A | None = None
        for each in candidates(entries):
            quality = _quality(entries, each.answer.media_type, each.syntax, multipart=each.answer.multipart)
            rank = (-quality, each.cost, each.order)
            if quality > 0 and (best is None or rank < best):
                best, answer = rank, each.answer
        if answer is not None:
            return answer
    raise NotAcceptable(
        "Nothing that is accepted can be sent: ask for one of the available types, or add */*",
        available=available,
    )


def _quality(entries: tuple[Entry, ...], name: str, syntax: str | None, *, multipart: bool) -> float:
    """The weight of the entry that describes a representation most closely (RFC 9110 §12.5.1)."""
    ranked = [(entry.specificity(name, syntax, multipart=multipart), entry.quality) for entry in entries]
    return max((each for each in ranked if each[0]), default=(0, 0.0))[1]


def _refuse_mixtures(accept: Accept) -> None:
    """PS3.18 §8.7.4: DICOM and rendered media types do not go into one request."""
    for entries in accept.lists():
        named = {entry.name for entry in entries}
        if named & _RENDERED_ONLY and named & _DICOM_ONLY:
            raise InvalidRequest(
                "DICOM and rendered media types are mixed: ask for the one or the other", parameter="Accept"
            )
