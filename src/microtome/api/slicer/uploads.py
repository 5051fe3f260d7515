"""Files into the safe API by the body of a request, and out of it: no path of the server is ever named."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from microtome.api.slicer.context import SlicerContext, answered
from microtome.api.slicer.sending import received, safe_name, sent_file
from microtome.errors import InvalidRequest
from microtome.scene.calls.base import Nodes
from microtome.scene.calls.files import FILE_TYPES, LoadFile, SaveNode, SaveScene

_FIELDS = {"name", "type", "node"}


async def load_upload(context: SlicerContext, request: Request) -> Response:
    """Load the body: ``name`` is the name of the file, whose ending says what it is unless ``type`` does.

    ``node``: the name of the node it becomes. All other parameters are properties of the reader.
    """
    query = request.query_params
    name, kind = query.get("name", "").strip(), query.get("type", "")
    if not name:
        raise InvalidRequest("Name the file: its ending says how it is read", parameter="name")
    if kind and kind not in FILE_TYPES:
        raise InvalidRequest(f"There is no type {kind[:50]}; there are {', '.join(FILE_TYPES)}", parameter="type")
    properties = {each: text for each, text in query.items() if each not in _FIELDS}
    async with received(context, request, name) as path:
        loaded = await context.scene.ask(
            LoadFile(path=str(path), file_type=kind, name=query.get("node", ""), properties=properties)
        )
    return answered(request, loaded)


async def download_node(context: SlicerContext, request: Request) -> Response:
    """A node as a file called ``name``; an ending alone, as ``.stl``, says how. Other parameters are the writer's."""
    name = request.query_params.get("name", "")
    if not name:
        raise InvalidRequest("Name the file, or its ending: .nrrd, .nii.gz, .stl, .mrk.json ...", parameter="name")
    properties = {each: text for each, text in request.query_params.items() if each != "name"}
    call = SaveNode(
        nodes=Nodes(id=request.path_params["id"]),
        file_name=name if name.startswith(".") else safe_name(name),
        properties=properties,
        apply_transforms=properties.pop("apply_transforms", "").lower() in {"1", "true"},
    )
    return sent_file(await context.scene.ask(call))


async def download_scene(context: SlicerContext) -> Response:
    """The whole scene, data included, as a bundle (.mrb) that 3D Slicer opens."""
    return sent_file(await context.scene.ask(SaveScene()))
