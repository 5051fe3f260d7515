"""What a file of markups (.mrk.json) may hold: MRML's reader ends the process over a value of another kind.

After the published schema of 3D Slicer (markups-schema-v1.0.3). What is not named here that reader does not look at.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from microtome.errors import CorruptData, LimitExceeded

MAX_POINTS = 10_000
"""Each takes about 10 kB and 20 us."""
MAX_MARKUPS = 1000
"""Each becomes a node, which takes 2 ms."""

_Three = tuple[float, float, float]
_Nine = Annotated[tuple[float, ...], msgspec.Meta(min_length=9, max_length=9)]
_Sixteen = Annotated[tuple[float, ...], msgspec.Meta(min_length=16, max_length=16)]


class _Point(msgspec.Struct, frozen=True):
    id: str = ""
    label: str = ""
    description: str = ""
    associatedNodeID: str = ""  # noqa: N815
    positionStatus: str = "defined"  # noqa: N815
    position: _Three | None = None
    orientation: _Nine = (0.0,) * 9
    selected: bool = True
    locked: bool = False
    visibility: bool = True


class _Measurement(msgspec.Struct, frozen=True):
    name: str = ""
    description: str = ""
    units: str = ""
    printFormat: str = ""  # noqa: N815
    enabled: bool = True
    value: float = 0.0
    quantityCode: dict[str, str] = {}  # noqa: N815
    unitsCode: dict[str, str] = {}  # noqa: N815
    methodCode: dict[str, str] = {}  # noqa: N815
    derivationCode: dict[str, str] = {}  # noqa: N815
    controlPointValues: Any = None  # noqa: N815


class _Display(msgspec.Struct, frozen=True):
    visibility: bool = True
    opacity: float = 1.0
    color: _Three = (0.0, 0.0, 0.0)
    selectedColor: _Three = (0.0, 0.0, 0.0)  # noqa: N815
    activeColor: _Three = (0.0, 0.0, 0.0)  # noqa: N815
    propertiesLabelVisibility: bool = True  # noqa: N815
    pointLabelsVisibility: bool = True  # noqa: N815
    textScale: float = 1.0  # noqa: N815
    glyphType: str = ""  # noqa: N815
    glyphScale: float = 1.0  # noqa: N815
    glyphSize: float = 1.0  # noqa: N815
    useGlyphScale: bool = True  # noqa: N815
    sliceProjection: bool = True  # noqa: N815
    sliceProjectionUseFiducialColor: bool = True  # noqa: N815
    sliceProjectionOutlinedBehindSlicePlane: bool = True  # noqa: N815
    sliceProjectionColor: _Three = (0.0, 0.0, 0.0)  # noqa: N815
    sliceProjectionOpacity: float = 1.0  # noqa: N815
    lineThickness: float = 1.0  # noqa: N815
    lineColorFadingStart: float = 1.0  # noqa: N815
    lineColorFadingEnd: float = 1.0  # noqa: N815
    lineColorFadingSaturation: float = 1.0  # noqa: N815
    lineColorFadingHueOffset: float = 1.0  # noqa: N815
    handlesInteractive: bool = False  # noqa: N815
    translationHandleVisibility: bool = False  # noqa: N815
    rotationHandleVisibility: bool = False  # noqa: N815
    scaleHandleVisibility: bool = False  # noqa: N815
    interactionHandleScale: float = 1.0  # noqa: N815
    snapMode: str = ""  # noqa: N815


class _Markup(msgspec.Struct, frozen=True):
    type: str
    name: str = ""
    coordinateSystem: str | int = "LPS"  # noqa: N815
    coordinateUnits: str | list[str] = "mm"  # noqa: N815
    locked: bool = False
    fixedNumberOfControlPoints: bool = False  # noqa: N815
    labelFormat: str = ""  # noqa: N815
    lastUsedControlPointNumber: int = 0  # noqa: N815
    controlPoints: list[_Point] = []  # noqa: N815
    measurements: list[_Measurement] = []
    display: _Display = _Display()
    roiType: str = ""  # noqa: N815
    insideOut: bool = False  # noqa: N815
    center: _Three = (0.0, 0.0, 0.0)
    orientation: _Nine = (0.0,) * 9
    size: tuple[float, ...] = ()
    planeType: str = ""  # noqa: N815
    sizeMode: str = ""  # noqa: N815
    autoScalingSizeFactor: float = 1.0  # noqa: N815
    normal: _Three = (0.0, 0.0, 1.0)
    objectToNode: _Sixteen = (0.0,) * 16  # noqa: N815
    baseToNode: _Sixteen = (0.0,) * 16  # noqa: N815
    objectToBase: _Sixteen = (0.0,) * 16  # noqa: N815
    planeBounds: tuple[float, ...] = ()  # noqa: N815


def check_markups(found: object) -> None:
    """Raises CorruptData for JSON with ``markups`` that are none, LimitExceeded for too many of them."""
    if isinstance(found, dict) and "markups" in found:
        try:
            markups = msgspec.convert(found["markups"], list[_Markup])
        except msgspec.ValidationError as error:
            raise CorruptData(f"These are no markups: {error}") from error
        if len(markups) > MAX_MARKUPS:
            raise LimitExceeded(
                f"Of one file at most {MAX_MARKUPS} markups are read", limit="markups", value=len(markups)
            )
        check_points(sum(len(markup.controlPoints) for markup in markups))


def check_points(count: int) -> None:
    """Raises LimitExceeded."""
    if count > MAX_POINTS:
        raise LimitExceeded(f"Of one file at most {MAX_POINTS} points are read", limit="points", value=count)
