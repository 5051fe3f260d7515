"""Files into the safe API by the body of a request, and out of it: no path of the server is ever named."""

from __future__ import annotations

from typing import Annotated

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from microtome.api.slicer.context import SlicerContext, answered, whole
from microtome.api.slicer.sending import received, safe_name, sent_file
from microtome.errors import InvalidRequest
from microtome.scene.calls.base import Nodes
from microtome.scene.calls.files import FILE_TYPES, GetSceneText, LoadFile, SaveNode, SaveScene

MRML = "application/x-slicer-mrml"
_FIELDS = {"name", "type", "node"}


class Upload(msgspec.Struct, frozen=True):
    """How a body is read."""

    name: Annotated[str, msgspec.Meta(description="Name of the file; its ending says how it is read", min_length=1)]
    type: Annotated[str, msgspec.Meta(description="Type of the file where its name does not tell it",
                                      extra_json_schema={"enum": ["", *FILE_TYPES]})] = ""  # fmt: skip
    node: Annotated[str, msgspec.Meta(description="Name of the node that it becomes")] = ""


class Download(msgspec.Struct, frozen=True):
    """How a node is written."""

    name: Annotated[str, msgspec.Meta(description="Name of the file, or its ending (.nrrd, .nii.gz, .stl, .mrk.json"
                                      " ...), which says how it is written", min_length=1)]  # fmt: skip
    apply_transforms: Annotated[bool, msgspec.Meta(description="Apply the transforms above the node")] = False


async def load_upload(context: SlicerContext, request: Request) -> Response:
    """Load a file.

    The body is the file. Volumes (nrrd, nii, mha, a zip of DICOM files ...), segmentations, models, markups,
    transforms, tables, colours, texts, and whole scenes (mrb).
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
    """A node as a file.

    An ending alone as the name takes the name of the node.
    """
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


async def download_scene(context: SlicerContext, _: Request) -> Response:
    """The whole scene as a bundle that 3D Slicer opens.

    Data included.
    """
    return sent_file(await context.scene.ask(SaveScene()))


async def download_text(context: SlicerContext, request: Request) -> Response:
    """The text of the scene (MRML).

    Data is not in it: storages name the file that each node would be written to beside it (`Data/...`), and no place
    on the server; `/nodes/{id}/file` has the data.
    """
    return whole(request, await context.scene.ask(GetSceneText()), MRML)
