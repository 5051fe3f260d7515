"""Media types as they stand in header fields (RFC 9110 §8.3, §12.5.1): tokens, quoted strings, parameters."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

MAX_FIELD = 8192
"""Characters of one header field that are read; real ones stay below 1000."""

_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"  # noqa: S105
_TYPE = re.compile(rf"[ \t]*({_TOKEN})/({_TOKEN})[ \t]*")
_PARAMETER = re.compile(
    rf"""[ \t]*;[ \t]*(?:({_TOKEN})[ \t]*=[ \t]*(?:"((?:[^"\\\x00-\x08\x0a-\x1f\x7f]|\\[\t\x20-\x7e\x80-\xff])*)"|"""
    r"""([^\s;,"\x00-\x1f\x7f]*)))?[ \t]*"""
)
_STRUCTURE = re.compile(r'[",]|\\.')
_ESCAPED = re.compile(r"\\(.)")


@dataclass(frozen=True, slots=True)
class MediaType:
    """``name`` ("image/jpeg") and the names of parameters are in lower case, values as they were sent."""

    name: str
    parameters: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def family(self) -> str:
        """What stands before the slash."""
        return self.name.partition("/")[0]

    def __str__(self) -> str:
        return self.name + "".join(f"; {name}={quoted(value)}" for name, value in self.parameters.items())


def parse(text: str) -> MediaType | None:
    """A media type with its parameters; of equal names the first counts. None for anything else.

    Values need no quotes even where they should have them (``type=application/dicom``), as clients send them so.
    """
    if len(text) > MAX_FIELD or (found := _TYPE.match(text)) is None:
        return None
    parameters: dict[str, str] = {}
    at = found.end()
    while at < len(text):
        each = _PARAMETER.match(text, at)
        if each is None or each.end() == at:
            return None
        at = each.end()
        if (name := each[1]) is not None:
            value = each[3] if each[2] is None else _ESCAPED.sub(r"\1", each[2])
            parameters.setdefault(name.lower(), value)
    return MediaType(f"{found[1]}/{found[2]}".lower(), parameters)


def elements(field_value: str) -> Iterator[str]:
    """The elements of a list (RFC 9110 §5.6.1), split at commas outside of quoted strings; empty ones left out.

    A quote that is never closed quotes nothing.
    """
    text = field_value[:MAX_FIELD]
    begin, inside = 0, False
    for found in _STRUCTURE.finditer(text):
        if found[0] == '"':
            inside = not inside
        elif found[0] == "," and not inside:
            yield from _stripped(text[begin : found.start()])
            begin = found.end()
    yield from _stripped(*(text[begin:].split(",") if inside else [text[begin:]]))


def _stripped(*parts: str) -> Iterator[str]:
    return (stripped for part in parts if (stripped := part.strip(" \t")))


def quoted(value: str) -> str:
    """A parameter's value, quoted unless it is a token (RFC 9110 §5.6.6)."""
    if re.fullmatch(_TOKEN, value):
        return value
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
