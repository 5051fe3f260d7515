"""``/slicer/volume(s)``, ``gridTransform(s)``, ``fiducial(s)``, ``segmentation(s)``: what nodes hold."""

from __future__ import annotations

from starlette.responses import Response

from microtome.api.slicer.context import Asked, SlicerContext, answered, done
from microtome.api.slicer.pictures import known_of
from microtome.api.slicer.sending import received, sent
from microtome.errors import InvalidRequest
from microtome.scene.calls.contents import (
    GetFiducials,
    GetGridTransform,
    GetSegmentation,
    GetSegmentations,
    GetVolume,
    ListGridTransforms,
    ListVolumes,
    MoveFiducial,
    PutGridTransform,
    PutVolume,
)

_VOLUME, _GRID = "vtkMRMLScalarVolumeNode*", "vtkMRMLGridTransformNode*"
_FIDUCIAL, _SEGMENTATION = "vtkMRMLMarkupsFiducialNode*", "vtkMRMLSegmentationNode*"


async def volumes(context: SlicerContext, asked: Asked) -> Response:
    """Names and ids of scalar, then label volumes."""
    found = await context.scene.ask(ListVolumes())
    return answered(asked.request, [{"name": each.name, "id": each.id} for each in found])


async def grid_transforms(context: SlicerContext, asked: Asked) -> Response:
    """Names and ids of grid transforms."""
    found = await context.scene.ask(ListGridTransforms())
    return answered(asked.request, [{"name": each.name, "id": each.id} for each in found])


async def volume(context: SlicerContext, asked: Asked) -> Response:
    """A volume as NRRD; with a body, NRRD into a volume. ``type`` and ``encoding`` choose, see ``GetVolume``."""
    pattern = asked.query.get("id", _VOLUME)
    if has_body(asked):
        async with received(context, asked.request, "volume.nrrd") as path:
            node = await context.scene.ask(PutVolume(path=str(path), pattern=pattern))
        return _put(asked, node)
    call = GetVolume(
        pattern=pattern,
        type=asked.query.get("type", "compatible"),
        encoding=asked.query.get("encoding", "raw"),
        known=known_of(asked.request),
    )
    return sent(asked.request, await context.scene.ask(call))


async def grid_transform(context: SlicerContext, asked: Asked) -> Response:
    """The displacements of a grid transform as NRRD; with a body, NRRD into a transform."""
    pattern = asked.query.get("id", _GRID)
    if has_body(asked):
        async with received(context, asked.request, "grid.nrrd") as path:
            node = await context.scene.ask(PutGridTransform(path=str(path), pattern=pattern))
        return _put(asked, node)
    call = GetGridTransform(pattern=pattern, encoding=asked.query.get("encoding", "raw"), known=known_of(asked.request))
    return sent(asked.request, await context.scene.ask(call))


async def fiducials(context: SlicerContext, asked: Asked) -> Response:
    """Point lists by id."""
    return answered(asked.request, await context.scene.ask(GetFiducials()))


async def fiducial(context: SlicerContext, asked: Asked) -> Response:
    """Move a point of a list: ``r``, ``a``, ``s`` in mm, 0 where one is missing, as the original has it; ``index``."""
    if asked.method == "GET":
        raise InvalidRequest("A point is moved with PUT: a GET changes nothing", parameter="method")
    coordinates: list[float] = []
    for name in ("r", "a", "s"):
        found = asked.number(name)
        if found is None and name in asked.query:
            raise InvalidRequest(f"could not convert {name} to a number", parameter=name)
        coordinates.append(found or 0.0)
    index = asked.query.get("index", "0")
    if not index.isdecimal() or len(index) > 9:
        raise InvalidRequest("index is the number of a point, from 0", parameter="index")
    r, a, s = coordinates
    pattern = asked.query.get("id", _FIDUCIAL)
    await context.scene.ask(MoveFiducial(pattern=pattern, position=(r, a, s), index=int(index)))
    return done()


async def segmentations(context: SlicerContext, asked: Asked) -> Response:
    """Segmentations and the ids of their segments, by id."""
    return answered(asked.request, await context.scene.ask(GetSegmentations()))


async def segmentation(context: SlicerContext, asked: Asked) -> Response:
    """A segment (``segmentID``) or all of a segmentation, as labelmap, seg.nrrd or surface (``format``)."""
    call = GetSegmentation(
        pattern=asked.query.get("segmentationID", _SEGMENTATION),
        segment=asked.query.get("segmentID", ""),
        format=asked.query.get("format", ""),
        known=known_of(asked.request),
    )
    return sent(asked.request, await context.scene.ask(call))


def has_body(asked: Asked) -> bool:
    """Whether something was sent: the original looks at nothing else."""
    if asked.method == "GET":
        return False
    length = asked.request.headers.get("content-length", "")
    return "transfer-encoding" in asked.request.headers or (length.isdecimal() and int(length) > 0)


def _put(asked: Asked, node: str) -> Response:
    return answered(asked.request, {"status": "success", "success": True, "id": node})
