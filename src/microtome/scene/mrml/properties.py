"""What a node says of itself (the text of PrintSelf), as an object: the shape that clients of the original know."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from microtome.scene.mrml.arrays import matrix_of, vtk_matrix

_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_BOOLEAN = {"true": True, "on": True, "false": False, "off": False}
_POINTER = re.compile(r"\s*\(?\b0x[0-9a-f]+\)?")
_BOOKKEEPING = frozenset({"Reference Count", "Registered Events", "Information", "Observer", "Command"})
"""Of VTK; left out with all that stands below."""
_TEXT = frozenset({"Name", "Label", "Description"})
"""What people write stays text, also where it looks like a number."""
_EMPTY = frozenset({"IJKToRASDirections", "MatrixTransformToParent"})
"""Matrices that the original loses: clients find "" there, and the matrix under a name of ours."""


def properties_of(node: Any) -> dict[str, Any]:
    """ID, class and name of a node, then what it prints.

    Ours are ``IJKToRASMatrix`` of volumes and ``TransformToParentMatrix`` of linear transforms: 4 x 4, row by row, RAS
    in mm.
    """
    head = {"ID": node.GetID(), "ClassName": node.GetClassName(), "Name": node.GetName() or ""}
    found = {**head, **parsed(str(node)), **head}
    if node.IsA("vtkMRMLVolumeNode"):
        found["IJKToRASMatrix"] = _matrix(node.GetIJKToRASMatrix)
    if node.IsA("vtkMRMLTransformNode") and node.IsLinear():
        found["TransformToParentMatrix"] = _matrix(node.GetMatrixTransformToParent)
    return found


def parsed(text: str) -> dict[str, Any]:
    """Indented ``key: value`` lines as nested objects. ``(none)``, addresses and VTK's bookkeeping are left out.

    Rows of numbers below a key are a list of rows.
    """
    top: dict[str, Any] = {}
    stack: list[tuple[int, dict[str, Any]]] = [(-1, top)]
    pending: tuple[dict[str, Any], str, int] | None = None
    for line in text.splitlines()[1:]:
        stripped = line.strip()
        if not stripped:
            continue
        indent = len(line) - len(line.lstrip())
        if pending is not None and (row := _row(stripped)) is not None:
            _add_row(pending[0], pending[1], row)
            continue
        if pending is not None and indent > pending[2]:
            inner: dict[str, Any] = {}
            if pending[1] not in _BOOKKEEPING:
                pending[0][pending[1]] = inner
            stack.append((pending[2], inner))
        while stack[-1][0] >= indent:
            stack.pop()
        key, colon, rest = stripped.partition(":")
        key, value = _POINTER.sub("", key).strip(), rest.strip()
        into = stack[-1][1]
        pending = (into, key, indent)
        if colon and key not in _BOOKKEEPING and value != "(none)" and not _POINTER.search(value):
            into[key] = value if key in _TEXT else _value(value)
    return top


def _row(text: str) -> list[int | float] | None:
    """A line of numbers and nothing else."""
    words = text.split()
    return _numbers(text, words) if all(_NUMBER.fullmatch(word) for word in words) else None


def _add_row(into: dict[str, Any], key: str, row: list[int | float]) -> None:
    if key in _EMPTY:
        into[key] = ""
    elif key not in _BOOKKEEPING:
        rows = into.get(key)
        into[key] = [*rows, row] if isinstance(rows, list) else [row]


def _value(text: str) -> Any:
    if (lowered := text.lower()) in _BOOLEAN:
        return _BOOLEAN[lowered]
    inner = text[1:-1] if text[:1] + text[-1:] in {"()", "[]"} else text
    words = inner.replace(",", " ").split()
    if not words or not all(_NUMBER.fullmatch(word) for word in words) or (len(words) == 1 and inner != text):
        return text
    numbers = _numbers(inner, words)
    return numbers[0] if len(numbers) == 1 else numbers


def _numbers(text: str, words: list[str]) -> list[int | float]:
    """All whole where all are, as the original has it."""
    return [float(word) if re.search(r"[.eE]", text) else int(word) for word in words]


def _matrix(fill: Any) -> list[list[float]]:
    """A matrix that a node writes into one of VTK."""
    made = vtk_matrix(np.eye(4))
    fill(made)
    return matrix_of(made).tolist()
