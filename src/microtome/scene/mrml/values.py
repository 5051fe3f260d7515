"""Values from clients, checked before MRML sees them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from microtome.errors import InvalidRequest, NotFound
from microtome.scene.mrml.application import Application
from microtome.scene.mrml.shown import color
from microtome.scene.slices.geometry import Matrix

MAX_NAME = 500
_COLOR = re.compile(r"#[0-9a-fA-F]{6}")
FARTHEST = 1e6
"""Millimetres within which there are bodies: VTK ends its process over some places that are farther."""


def node_of(application: Application, node_id: str, class_name: str, what: str) -> Any:
    """The node of an id if it is of a class. Raises NotFound."""
    found = application.scene.GetNodeByID(node_id)
    if found is None or not found.IsA(class_name):
        raise NotFound(what, node_id[:100])
    return found


def channels(text: str, parameter: str = "color") -> tuple[float, float, float]:
    """``#rrggbb`` as three numbers from 0 to 1. Raises InvalidRequest."""
    if not _COLOR.fullmatch(text):
        raise InvalidRequest("A colour is #rrggbb", parameter=parameter)
    red, green, blue = (int(text[place : place + 2], 16) / 255 for place in (1, 3, 5))
    return red, green, blue


def hexadecimal(parts: Sequence[float]) -> str:
    """Three numbers from 0 to 1 as ``#rrggbb``."""
    return "#{:02x}{:02x}{:02x}".format(*color(parts))


def name_of(text: str) -> str:
    """A name of a node. Raises InvalidRequest for what is none."""
    if not text.strip() or len(text) > MAX_NAME or any(ord(character) < 32 for character in text):
        raise InvalidRequest(f"A name has 1 to {MAX_NAME} characters, none of them for control", parameter="name")
    return text


def share(value: float, parameter: str) -> float:
    """A number from 0 to 1. Raises InvalidRequest."""
    if not 0 <= value <= 1:
        raise InvalidRequest(f"{parameter} is 0 to 1", parameter=parameter)
    return value


def finite(value: float, parameter: str) -> float:
    """A number that is one. Raises InvalidRequest."""
    if not np.isfinite(value):
        raise InvalidRequest(f"{parameter} is no number", parameter=parameter)
    return value


def place(value: float, parameter: str) -> float:
    """A coordinate (mm) within reason. Raises InvalidRequest."""
    if not abs(value) <= FARTHEST:  # NaN is not
        raise InvalidRequest(f"{parameter} is at most {FARTHEST:.0f} mm away", parameter=parameter)
    return value


def position(point: Sequence[float]) -> tuple[float, float, float]:
    """A point in RAS (mm) within reason. Raises InvalidRequest."""
    if not all(abs(each) <= FARTHEST for each in point):  # NaN is not
        raise InvalidRequest("A point is three numbers of mm", parameter="points")
    return float(point[0]), float(point[1]), float(point[2])


def matrix(numbers: Sequence[float]) -> Matrix:
    """16 numbers, row by row, that can be undone (4 x 4). Raises InvalidRequest."""
    if len(numbers) != 16 or not all(abs(each) <= FARTHEST for each in numbers):
        raise InvalidRequest("A matrix is 16 numbers, row by row", parameter="matrix")
    found = np.array(numbers, np.float64).reshape(4, 4)
    if tuple(found[3]) != (0, 0, 0, 1) or abs(float(np.linalg.det(found[:3, :3]))) < 1e-12:
        raise InvalidRequest("The matrix cannot be undone, or its last row is not 0 0 0 1", parameter="matrix")
    return found
