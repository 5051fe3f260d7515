"""The Native DICOM Model (PS3.19 §A.1), both ways: the data set as XML."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, cast
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

from microtome.dicom import dictionary
from microtome.dicom.dataset import Dataset, Element, LargeSequence
from microtome.dicom.encoding import DEPTH
from microtome.dicom.fromjson import from_json
from microtome.dicom.json import INLINE, TRAILING_PADDING, BulkUri, texts, values_of
from microtome.dicom.scanner import PixelData
from microtome.dicom.sequences import NOTHING, Items
from microtome.errors import CorruptData, LimitExceeded

NAMESPACE: Final = "http://dicom.nema.org/PS3.19/models/NativeDICOM"
NODES: Final = 1_000_000
"""Elements of a document that is read: every value is one."""
_BINARY: Final = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
_FORBIDDEN: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 cannot hold, not even escaped (§2.2)."""
_PARTS: Final = ("FamilyName", "GivenName", "MiddleName", "NamePrefix", "NameSuffix")
_GROUPS: Final = ("Alphabetic", "Ideographic", "Phonetic")
_INFINITE: Final = {"Infinity": "INF", "-Infinity": "-INF"}
"""Numbers as XML Schema spells them."""


def to_xml(
    dataset: Dataset,
    *,
    bulk_uri: BulkUri | None = None,
    inline_up_to: int = INLINE,
    pixels: PixelData | None = None,
) -> bytes:
    """A data set as a Native DICOM Model document in UTF-8, large sequences empty; parameters of ``json.to_json``."""
    return b"".join(pieces(dataset, NOTHING, bulk_uri=bulk_uri, inline_up_to=inline_up_to, pixels=pixels))


def pieces(
    dataset: Dataset,
    items: Items,
    *,
    bulk_uri: BulkUri | None = None,
    inline_up_to: int = INLINE,
    pixels: PixelData | None = None,
) -> Iterator[bytes]:
    """The same with the items of large sequences, which are read meanwhile. Blocks."""
    head = f'<?xml version="1.0" encoding="UTF-8"?>\n<NativeDicomModel xmlns="{NAMESPACE}" xml:space="preserve">'
    yield head.encode()
    for text in _Writer(bulk_uri, inline_up_to, items).dataset(dataset, ""):
        yield text.encode()
    if pixels is not None and bulk_uri is not None:
        uri = quoteattr(bulk_uri(f"{pixels.tag:08X}"))
        yield f"{_opening(pixels.tag, pixels.vr)}<BulkData uri={uri}/></DicomAttribute>".encode()
    yield b"</NativeDicomModel>\n"


def _opening(tag: int, vr: str, creator: str = "") -> str:
    """A private attribute has its creator instead of the block that the creator got in this data set."""
    if creator:
        return f'<DicomAttribute tag="{tag & 0xFFFF_00FF:08X}" vr="{vr}" privateCreator={quoteattr(_clean(creator))}>'
    word = dictionary.keyword(tag)
    keyword = f' keyword="{word}"' if word else ""
    return f'<DicomAttribute tag="{tag:08X}" vr="{vr}"{keyword}>'


@dataclass(frozen=True, slots=True)
class _Writer:
    bulk_uri: BulkUri | None
    inline_up_to: int
    items: Items

    def dataset(self, dataset: Dataset, path: str) -> Iterator[str]:
        for tag, element in dataset.elements.items():
            if isinstance(element.value, LargeSequence):
                yield _opening(tag, element.vr, _creator(dataset, tag))
                for number, item in enumerate(self.items.each(element.value, dataset.text), 1):
                    yield f'<Item number="{number}">'
                    yield from self.dataset(item, f"{path}{tag:08X}/{number}/")
                    yield "</Item>"
                yield "</DicomAttribute>"
            elif tag & 0xFFFF and tag != TRAILING_PADDING:
                content = "".join(self._content(dataset, element, path + f"{tag:08X}"))
                yield f"{_opening(tag, element.vr, _creator(dataset, tag))}{content}</DicomAttribute>"

    def _content(self, dataset: Dataset, element: Element, path: str) -> Iterator[str]:
        tag, vr, value = element
        if isinstance(value, tuple):
            for number, item in enumerate(value, 1):
                yield f'<Item number="{number}">'
                yield from self.dataset(item, f"{path}/{number}/")
                yield "</Item>"
        elif not isinstance(value, bytes) or (vr in _BINARY and len(value) > self.inline_up_to and self.bulk_uri):
            if self.bulk_uri is not None:
                yield f"<BulkData uri={quoteattr(self.bulk_uri(path))}/>"
        elif tag == 0x0008_0005:
            yield '<Value number="1">ISO_IR 192</Value>'
        elif vr in _BINARY:
            if value:
                yield f"<InlineBinary>{b64encode(value).decode('ascii')}</InlineBinary>"
        else:
            # Numbers that are text stay the text they are.
            plain = vr in {"DS", "IS"}
            values: list[Any] = texts(vr, dataset.text(value, vr)) if plain else values_of(dataset, element)
            for number, each in enumerate(values, 1):
                if each is None or each == "":
                    continue
                if isinstance(each, dict):
                    yield from _person(number, cast("dict[str, str]", each))
                else:
                    yield f'<Value number="{number}">{escape(_clean(_written(vr, each)))}</Value>'


def _written(vr: str, value: Any) -> str:
    text = str(value)
    return _INFINITE.get(text, text) if vr in {"FL", "FD"} else text


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("\ufffd", text)


def _creator(dataset: Dataset, tag: int) -> str:
    """The private creator of a private element (PS3.5 §7.8.1); "" when a lower block of the group has the same."""
    if not dictionary.is_private(tag) or tag & 0xFFFF < 0x1000:
        return ""
    place = tag & 0xFFFF_0000 | (tag & 0xFF00) >> 8
    found = dataset.string(place)
    lower = range(tag & 0xFFFF_0000 | 0x10, place)
    return "" if any(each in dataset and dataset.string(each) == found for each in lower) else found


def _person(number: int, groups: Mapping[str, str]) -> Iterator[str]:
    yield f'<PersonName number="{number}">'
    for group in _GROUPS:
        if group in groups:
            yield f"<{group}>"
            for name, part in zip(_PARTS, groups[group].split("^", 4), strict=False):
                if part:
                    yield f"<{name}>{escape(_clean(part))}</{name}>"
            yield f"</{group}>"
    yield "</PersonName>"


# -- reading


@dataclass(slots=True)
class _Node:
    name: str
    attributes: Mapping[str, str]
    text: list[str] = field(default_factory=list[str])
    children: list[_Node] = field(default_factory=list["_Node"])


def from_xml(document: bytes, bulk: Mapping[str, bytes]) -> Dataset:
    """The data set of a Native DICOM Model document; ``bulk`` holds the value of each BulkData, by uri or uuid.

    Raises CorruptData for what is no such document, LimitExceeded when it is too deep or has too many elements. A
    document type is refused, and with it every entity.
    """
    return from_json(as_json(document), bulk)


def as_json(document: bytes) -> dict[str, Any]:
    """A Native DICOM Model document as an object of the JSON model, whose values are not checked yet; raises as
    ``from_xml`` does.
    """
    root = _parsed(document)
    if root.name != "NativeDicomModel":
        raise CorruptData("not a Native DICOM Model")
    return _object(root)


def _parsed(document: bytes) -> _Node:
    parser = expat.ParserCreate(namespace_separator=" ")
    stack = [_Node("", {})]
    count = 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal count
        count += 1
        if len(stack) > DEPTH * 2 + 8:
            raise LimitExceeded(f"sequences nested more than {DEPTH} deep", limit="DEPTH", value=len(stack))
        if count > NODES:
            raise LimitExceeded(f"more than {NODES} XML elements", limit="NODES", value=count)
        node = _Node(name.rpartition(" ")[2], attributes)
        stack[-1].children.append(node)
        stack.append(node)

    def end(_: str) -> None:
        stack.pop()

    def text(data: str) -> None:
        stack[-1].text.append(data)

    def refuse(*_: object) -> None:
        raise CorruptData("a document type is not allowed")

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text
    parser.StartDoctypeDeclHandler = refuse
    parser.buffer_text = True
    try:
        parser.Parse(document, True)  # noqa: FBT003 - "this is the end", and expat knows no keyword
    except (expat.ExpatError, LookupError, ValueError) as error:
        raise CorruptData("the XML is broken") from error
    return stack[0].children[0]


def _object(node: _Node) -> dict[str, Any]:
    """The data set of a node in the JSON model."""
    found: dict[str, Any] = {}
    private: list[tuple[int, _Node]] = []
    for each in node.children:
        if each.name != "DicomAttribute":
            raise CorruptData(f"{each.name[:64]!r} where an attribute should be")
        tag = _tag(each)
        known = dictionary.tag(tag) or 0
        if each.attributes.get("privateCreator") and dictionary.is_private(known) and not known & 0xFF00:
            private.append((known, each))
        else:
            found[tag] = _attribute(each, tag)
    blocks = {
        (tag[:4].upper(), str(value)): int(tag[4:], 16)
        for tag, each in sorted(found.items(), reverse=True)  # of several blocks the lowest
        if len(tag) == 8 and tag[4:6] == "00" and isinstance(values := each.get("Value"), list)
        for value in cast("list[Any]", values)[:1]
    }
    for tag, each in private:
        group, creator = f"{tag >> 16:04X}", each.attributes["privateCreator"]
        block = blocks.get((group, creator)) or _reserve(found, blocks, group, creator)
        name = f"{group}{block:02X}{tag & 0xFF:02X}"
        found[name] = _attribute(each, name)
    return found


def _reserve(found: dict[str, Any], blocks: dict[tuple[str, str], int], group: str, creator: str) -> int:
    """A block for a creator that the document names, but has no element of."""
    taken = {block for (other, _), block in blocks.items() if other == group}
    block = next((each for each in range(0x10, 0x100) if each not in taken), 0)
    if not block:
        raise CorruptData(f"more private creators in group {group} than there are blocks")
    blocks[group, creator] = block
    found[f"{group}00{block:02X}"] = {"vr": "LO", "Value": [creator]}
    return block


def _tag(node: _Node) -> str:
    tag = node.attributes.get("tag", "")
    known = dictionary.tag(node.attributes.get("keyword", "")) if not tag else None
    return tag if known is None else f"{known:08X}"


def _attribute(node: _Node, tag: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if vr := node.attributes.get("vr"):
        found["vr"] = vr
    values: dict[int, Any] = {}
    for each in node.children:
        if each.name == "BulkData":
            found["BulkDataURI"] = each.attributes.get("uri") or each.attributes.get("uuid", "")
        elif each.name == "InlineBinary":
            found["InlineBinary"] = "".join("".join(each.text).split())
        elif each.name in {"Value", "Item", "PersonName"}:
            values[_number(each, tag, len(node.children))] = _value(each)
        else:
            raise CorruptData(f"{tag[:16]}: unknown element {each.name[:64]!r}")
    if values:
        found["Value"] = [values.get(number) for number in range(1, max(values) + 1)]
    return found


def _number(node: _Node, tag: str, siblings: int) -> int:
    """Values may be left out, and then mean empty ones; but a number is no licence to make a million of them."""
    text = node.attributes.get("number", "1")
    if not text.isascii() or not text.isdigit() or len(text) > 9 or not 1 <= int(text) <= 1024 + siblings:
        raise CorruptData(f"{tag[:16]}: the number of a value is {text[:32]!r}")
    return int(text)


def _value(node: _Node) -> Any:
    if node.name == "Item":
        return _object(node)
    if node.name == "Value":
        return "".join(node.text)
    groups: dict[str, str] = {}
    for group in node.children:
        parts = {part.name: "".join(part.text) for part in group.children}
        groups[group.name] = "^".join(parts.get(name, "") for name in _PARTS).rstrip("^")
    return groups
