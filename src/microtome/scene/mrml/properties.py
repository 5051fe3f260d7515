"""What a node says of itself (the text of PrintSelf), as an object."""

from __future__ import annotations

import re
from typing import Any

_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_BOOLEAN = {"true": True, "on": True, "false": False, "off": False}
_POINTER = re.compile(r"\s*\(0x[0-9a-f]+\)$")
_BOOKKEEPING = frozenset({"Reference Count", "Registered Events", "Information", "Observer"})


def properties_of(node: Any) -> dict[str, Any]:
    """ID and class of a node, then what it prints."""
    return {"ID": node.GetID(), "ClassName": node.GetClassName(), "Name": node.GetName(), **parsed(str(node))}


def parsed(text: str) -> dict[str, Any]:
    """Indented ``key: value`` lines as nested objects; ``(none)`` is left out, so are pointers."""
    top: dict[str, Any] = {}
    stack: list[tuple[int, dict[str, Any]]] = [(-1, top)]
    pending: tuple[dict[str, Any], str, int] | None = None
    for line in text.splitlines()[1:]:
        stripped = line.strip()
        if not stripped:
            continue
        indent = len(line) - len(line.lstrip())
        if pending is not None and indent > pending[2]:
            inner: dict[str, Any] = {}
            pending[0][pending[1]] = inner
            stack.append((pending[2], inner))
        while stack[-1][0] >= indent:
            stack.pop()
        key, colon, rest = stripped.partition(":")
        key, value = _POINTER.sub("", key.strip()), rest.strip()
        into = stack[-1][1]
        if not colon or key in _BOOKKEEPING:
            pending = (into, key, indent)
            continue
        if value != "(none)":
            into[key] = _value(value)
        pending = (into, key, indent)
    return top


def _value(text: str) -> Any:
    if (lowered := text.lower()) in _BOOLEAN:
        return _BOOLEAN[lowered]
    inner = text[1:-1] if text[:1] + text[-1:] in {"()", "[]"} else text
    words = inner.replace(",", " ").split()
    if not words or not all(_NUMBER.fullmatch(word) for word in words) or (len(words) == 1 and inner != text):
        return text
    numbers = [float(word) if re.search(r"[.eE]", inner) else int(word) for word in words]
    return numbers[0] if len(numbers) == 1 else numbers
