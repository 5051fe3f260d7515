"""multipart/related (RFC 2046 §5.1, RFC 2387) both ways, without I/O: answers are written, stored instances parsed.

The parser holds back less than one boundary of a part, so parts of any size pass in constant memory. Framing is by the
boundary alone: a part's Content-Length is a header like any other and believed by nobody.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from microtome.api.dicomweb import media
from microtome.errors import InvalidRequest, LimitExceeded, UnsupportedFormat

_BOUNDARY = re.compile(r"[\x20-\x7e]{0,199}[\x21-\x7e]")
"""RFC 2046 allows 70 of fewer characters; senders are not that careful."""

_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_FOLD = re.compile(rb"\r\n[ \t]+")
_END = b"\r\n"
_PADDING = b" \t"
_MAX_PADDING = 256


# Writing


class Writer:
    """Writes one multipart/related message: for each part ``opening`` and then its bytes, at the end ``closing``.

    The boundary is random, so that no stored content can have been made to contain it.
    """

    def __init__(self, root_type: str, *, boundary: str | None = None) -> None:
        """``root_type`` is the media type of the parts without parameters, "application/dicom"."""
        _check_header(root_type)
        self._boundary = secrets.token_hex(16) if boundary is None else boundary
        self._started = False
        self.content_type = f'multipart/related; type="{root_type}"; boundary={self._boundary}'
        """The Content-Type of the message."""

    def opening(self, content_type: str, *, location: str | None = None, length: int | None = None) -> bytes:
        """What stands before the bytes of the next part. Raises InvalidRequest for line breaks in a header."""
        head = [f"--{self._boundary}", f"Content-Type: {content_type}"]
        if location is not None:
            head.append(f"Content-Location: {location}")
        if length is not None:
            head.append(f"Content-Length: {length}")
        for line in head:
            _check_header(line)
        separator, self._started = "\r\n" if self._started else "", True
        return (separator + "\r\n".join(head) + "\r\n\r\n").encode("latin-1", "replace")

    def closing(self) -> bytes:
        """What stands behind the last part."""
        return (("\r\n" if self._started else "") + f"--{self._boundary}--\r\n").encode("ascii")


def _check_header(text: str) -> None:
    if _CONTROL.search(text):
        raise InvalidRequest("A header of an answer's part would hold control characters", parameter="header")


# Reading


@dataclass(frozen=True, slots=True)
class Related:
    """What the Content-Type of a request says: ``root`` is the lower-case type of the parts, "" when it names none."""

    boundary: bytes
    root: str
    start: str = ""


def related(content_type: str | None) -> Related:
    """Read the Content-Type of a message, ``type`` and ``boundary`` quoted or not.

    Raises UnsupportedFormat when it is not multipart/related, InvalidRequest when its boundary is missing or none.
    """
    found = media.parse(content_type or "")
    if found is None or found.name != "multipart/related":
        raise UnsupportedFormat(
            "The body must be multipart/related with a type and a boundary", feature=found.name if found else ""
        )
    boundary = found.parameters.get("boundary", "")
    if not _BOUNDARY.fullmatch(boundary):
        raise InvalidRequest("The Content-Type of the message has no usable boundary", parameter="Content-Type")
    root = found.parameters.get("type", "").partition(";")[0].strip().lower()
    return Related(boundary.encode("ascii"), root, found.parameters.get("start", ""))


@dataclass(frozen=True, slots=True)
class PartBegins:
    """A part's headers, names in lower case."""

    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class PartData:
    """Some more bytes of the part's content, never empty."""

    data: bytes


@dataclass(frozen=True, slots=True)
class PartEnds:
    """The part is complete."""


Event = PartBegins | PartData | PartEnds


@dataclass(frozen=True, slots=True)
class Limits:
    """In bytes; None is without limit. ``total`` counts everything fed, ``headers`` those of one part."""

    total: int | None = None
    part: int | None = None
    parts: int = 100_000
    headers: int = 16 << 10
    header_lines: int = 64
    preamble: int = 64 << 10


_NO_LIMITS = Limits()


class Parser:
    """Feed the body as it comes, then ``close``; both tell what was found.

    Raises InvalidRequest for what is no such message, LimitExceeded; a parser that raised is done.
    """

    def __init__(self, boundary: bytes, limits: Limits = _NO_LIMITS) -> None:
        self._delimiter = _END + b"--" + boundary
        self._limits = limits
        # The first boundary may stand at the very beginning, without a line break before it.
        self._held: bytes = _END
        self._state: Literal["preamble", "headers", "content", "epilogue"] = "preamble"
        self._fed = self._parts = self._length = self._skip = 0

    def feed(self, data: bytes) -> Iterator[Event]:
        """The events of these bytes. Go through all of them before the next call."""
        self._fed += len(data)
        self._limit("total", self._fed, self._limits.total, "The message")
        self._held += data
        yield from self._events(final=False)

    def close(self) -> Iterator[Event]:
        """The body is complete. Raises InvalidRequest when the message is not."""
        yield from self._events(final=True)
        if self._state != "epilogue":
            raise InvalidRequest("The message breaks off before its last boundary", parameter="body")

    @property
    def parts(self) -> int:
        """How many parts have begun."""
        return self._parts

    def _events(self, *, final: bool) -> Iterator[Event]:
        while True:
            match self._state:
                case "epilogue":
                    self._held = b""
                    return
                case "headers":
                    headers = self._headers()
                    if headers is None:
                        return
                    yield PartBegins(headers)
                case _:
                    inside = self._state == "content"
                    content, found = self._until_delimiter(final=final)
                    if self._skip and content:
                        content, self._skip = content[self._skip :], 0
                    self._length += len(content)
                    if not inside:
                        self._limit("preamble", self._length, self._limits.preamble, "What stands before the parts")
                    elif content:
                        self._limit("part", self._length, self._limits.part, "A part")
                        yield PartData(content)
                    if not found:
                        return
                    if inside:
                        yield PartEnds()

    def _until_delimiter(self, *, final: bool) -> tuple[bytes, bool]:
        """Content up to the next delimiter, or up to where one may begin; whether it was found."""
        held, search = self._held, 0
        while (at := held.find(self._delimiter, search)) >= 0:
            verdict, end = self._delimiter_line(at + len(self._delimiter), final=final)
            if verdict == "unknown":
                self._held = held[at:]
                return held[:at], False
            if verdict != "content":
                self._state = "headers" if verdict == "next" else "epilogue"
                self._held = held[end:]
                return held[:at], True
            search = at + 2
        keep = self._partial(held)
        self._held = held[len(held) - keep :]
        return held[: len(held) - keep], False

    def _delimiter_line(self, after: int, *, final: bool) -> tuple[Literal["next", "last", "content", "unknown"], int]:
        """What the line of a boundary that ends at ``after`` is, and where the line break behind it begins.

        Behind the boundary may stand ``--`` (the end of the message), then spaces, then a line break; a line that only
        begins like a boundary is content. The line break of the last line may be missing.
        """
        held = self._held
        last = held.startswith(b"--", after)
        begin = after + 2 * last
        rest = held[begin : begin + _MAX_PADDING + 2]
        line = rest.lstrip(_PADDING)
        end = begin + len(rest) - len(line)
        if line.startswith(_END):
            return "last" if last else "next", end
        open_ended = begin + len(rest) == len(held) and len(rest) < _MAX_PADDING + 2
        if open_ended and (line in {b"", b"\r"} or (rest == b"-" and not last)):
            if not final:
                return "unknown", end
            return "last" if last else "content", end
        return "content", end

    def _partial(self, held: bytes) -> int:
        """How many bytes at the end may be the beginning of a delimiter."""
        tail = held[-(len(self._delimiter) - 1) :]
        at = tail.find(b"\r")
        while at >= 0:
            if self._delimiter.startswith(tail[at:]):
                return len(tail) - at
            at = tail.find(b"\r", at + 1)
        return 0

    def _headers(self) -> Mapping[str, str] | None:
        """The headers of the part that begins, None until they are complete. ``_held`` begins with a line break."""
        end = self._held.find(_END + _END)
        size = len(self._held) if end < 0 else end
        self._limit("headers", size, self._limits.headers, "The headers of a part")
        if end < 0:
            return None
        # The line break before the content is left: it may already belong to a boundary (an empty part).
        head, self._held, self._skip = self._held[2:end] if end else b"", self._held[end + 2 :], len(_END)
        self._parts += 1
        self._limit("parts", self._parts, self._limits.parts, "The message")
        self._state, self._length = "content", 0
        return self._header_fields(head)

    def _header_fields(self, head: bytes) -> Mapping[str, str]:
        found: dict[str, str] = {}
        lines = _FOLD.sub(b" ", head).split(_END) if head else []
        self._limit("header_lines", len(lines), self._limits.header_lines, "The headers of a part")
        for line in lines:
            name, colon, value = line.partition(b":")
            text = value.strip(_PADDING).decode("latin-1")
            if not colon or not _NAME.fullmatch(name) or _CONTROL.search(text.replace("\t", " ")):
                raise InvalidRequest("A part of the message has a malformed header", parameter="body")
            key = name.decode("ascii").lower()
            if key in found:
                raise InvalidRequest(f"A part of the message has the header {key} twice", parameter="body")
            found[key] = text
        return found

    def _limit(self, name: str, value: int, limit: int | None, what: str) -> None:
        if limit is not None and value > limit:
            raise LimitExceeded(f"{what} is over the limit of {limit} ({name})", limit=f"multipart {name}", value=value)
