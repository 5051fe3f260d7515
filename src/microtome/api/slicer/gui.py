"""``/slicer/gui``, ``/slicer/tracking``, ``/slicer/volumeSelection``, ``/slicer/timeimage``: the scene as a room."""

from __future__ import annotations

import re
import time
from io import BytesIO

from starlette.responses import Response

from microtome.api.slicer.context import Asked, SlicerContext, done, said
from microtome.errors import InvalidRequest, NotFound
from microtome.scene.calls.layout import SetLayout
from microtome.scene.calls.nodes import SelectVolume
from microtome.scene.calls.samples import LoadSample
from microtome.scene.calls.tracking import Track

_COLOR = re.compile(r"[0-9a-fA-F]{3}|[0-9a-fA-F]{6}")
_SIZE = (128, 32)
_DASH = 5
"""Length in px of the dots of the border."""


async def gui(context: SlicerContext, asked: Asked) -> Response:
    """Choose a layout of the views. There are no panels to hide: ``contents`` is read and changes nothing."""
    contents = asked.query.get("contents", "").lower()
    if contents not in {"", "viewers", "full"}:
        raise InvalidRequest("contents must be 'viewers' or 'full'", parameter="contents")
    if layout := asked.query.get("viewersLayout"):
        await context.scene.ask(SetLayout(name=layout))
    return done()


async def tracking(context: SlicerContext, asked: Asked) -> Response:
    """Move the tracked device.

    ``m``: a rotation of nine numbers, row by row, or a matrix of sixteen, column by column, with the position in the
    last one. ``p``: position x, y, z in mm. ``q``: quaternion w, x, y, z.
    """
    matrix, position, quaternion = asked.numbers("m"), asked.numbers("p"), asked.numbers("q")
    for name, numbers, counts in (("m", matrix, (9, 16)), ("p", position, (3,)), ("q", quaternion, (4,))):
        if numbers is not None and len(numbers) not in counts:
            raise InvalidRequest(f"{name} is {' or '.join(map(str, counts))} numbers", parameter=name)
    rotation = matrix
    if matrix is not None and len(matrix) == 16:
        rotation = tuple(matrix[4 * column + row] for row in range(3) for column in range(3))
        position = position or matrix[12:15]
    await context.scene.ask(Track(rotation=rotation, position=position, quaternion=quaternion))  # pyright: ignore[reportArgumentType]
    return said("Set matrix")


async def volume_selection(context: SlicerContext, asked: Asked) -> Response:
    """Show the next volume in the slice views; ``cmd=previous`` for the one before."""
    await context.scene.ask(SelectVolume(forward=asked.query.get("cmd", "").lower() != "previous"))
    return said("Volume selected")


async def sampledata(context: SlicerContext, asked: Asked) -> Response:
    """Make sample data (``name=MRHead``, ``CTChest``, ...) and show them: generated, nothing is downloaded."""
    name = asked.query.get("name")
    if name is None:
        raise InvalidRequest("sampledata name was not specified", parameter="name")
    try:
        await context.scene.ask(LoadSample(name=name))
    except NotFound as error:
        raise NotFound("sample data", name, f"sampledata {name[:100]} was not found") from error
    return said(f"Sample data {name} loaded")


async def timeimage(_: SlicerContext, asked: Asked) -> Response:
    """The time as a picture, in a dotted border of ``color`` (3 or 6 hexadecimal digits)."""
    return Response(
        clock(asked.query.get("color", "330"), time.time()),
        headers={"content-type": "image/png", "cache-control": "no-cache"},
    )


def clock(color: str, seconds: float) -> bytes:
    """A PNG of 128 x 32 px, transparent but for border and text. Raises InvalidRequest for what is no colour."""
    from PIL import Image, ImageDraw

    if not _COLOR.fullmatch(color):
        raise InvalidRequest("color is 3 or 6 hexadecimal digits", parameter="color")
    digits = color if len(color) == 6 else "".join(digit * 2 for digit in color)
    border = (*bytes.fromhex(digits), 204)
    picture = Image.new("RGBA", _SIZE, (0, 0, 0, 0))
    draw = ImageDraw.Draw(picture)
    width, height = _SIZE
    for at in range(0, width, 2 * _DASH):
        for top in (0, height - _DASH):
            draw.rectangle((at, top, at + _DASH - 1, top + _DASH - 1), fill=border)
    for at in range(0, height, 2 * _DASH):
        for left in (0, width - _DASH):
            draw.rectangle((left, at, left + _DASH - 1, at + _DASH - 1), fill=border)
    draw.text((10, 10), str(seconds), fill=(51, 51, 51, 255))
    found = BytesIO()
    picture.save(found, "PNG")
    return found.getvalue()
