"""Files of ``/slicer/mrml``: loaded by path, address or body, written to a path or sent."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from starlette.responses import Response

from microtome.api.slicer.context import Asked, SlicerContext, done
from microtome.api.slicer.sending import place, received, safe_name, sent_file
from microtome.api.slicer.volumes import has_body
from microtome.errors import InvalidRequest
from microtome.scene import places
from microtome.scene.calls.files import Loaded, LoadFile, SaveNode, SaveScene
from microtome.scene.fetch import Allowed, download, name_of

_TAKEN = frozenset({"localfile", "url", "filetype", "filename", "applytransforms", "id", "class", "name"})
MAX_MESSAGES = 20
BUNDLE = ".mrb"
SCENES = (BUNDLE, ".mrml")
"""Endings of whole scenes."""


async def load(context: SlicerContext, asked: Asked) -> Response:
    """Load a file: ``url``, else ``localfile`` inside the data folders, else the body, called ``filename``."""
    query = asked.query
    if "filetype" not in query:
        raise InvalidRequest("'filetype'", parameter="filetype")
    url = query.get("url", "")
    if url.lower().startswith("file:"):
        loaded = await _local(context, asked, url)
    elif url:
        loaded = await _remote(context, asked, url)
    elif local := query.get("localfile"):
        loaded = await _local(context, asked, local)
    elif has_body(asked):
        async with received(context, asked.request, query.get("filename", "upload")) as path:
            loaded = await context.scene.ask(_call(asked, str(path), query.get("name", "")))
    else:
        raise InvalidRequest(
            "Required `url` or `localfile` query parameter is missing in `mrml` request", parameter="localfile"
        )
    more = {"messages": loaded.messages[:MAX_MESSAGES]} if loaded.messages else {}
    return done(loadedNodeIDs=loaded.ids, **more)


async def export(context: SlicerContext, asked: Asked) -> Response:
    """Write the one selected node to ``localfile``; without it, send it as ``filename`` (``.stl`` is enough).

    Without a selection, the whole scene as ``.mrb``, or as ``.mrml`` with its data in a new folder beside it.
    """
    query = asked.query
    local = query.get("localfile", "") or _path_of(query.get("url", ""))
    name = query.get("filename", "")
    if not local and not name:
        raise InvalidRequest(
            "Required `url` or `localfile` query parameter is missing in `mrml` request", parameter="localfile"
        )
    chosen = any(query.get(each) for each in ("id", "class", "name"))
    if not chosen and (local or name).lower().endswith(SCENES):
        return await _export_scene(context, local, name)
    if local:
        local = str(await asyncio.to_thread(places.writable, local, context.roots))
    file = await context.scene.ask(
        SaveNode(
            nodes=asked.nodes,
            path=local or None,
            file_name=name if local or name.startswith(".") else safe_name(name),
            properties=_properties(query),
            apply_transforms=_truth(query.get("applytransforms", "")),
        )
    )
    return done() if local else sent_file(file)


async def _export_scene(context: SlicerContext, local: str, name: str) -> Response:
    if local:
        path = await asyncio.to_thread(places.writable, local, context.roots)
        await context.scene.ask(SaveScene(path=str(path)))
        return done()
    if not name.lower().endswith(BUNDLE):
        raise InvalidRequest("A scene is sent as .mrb: its data lies beside a .mrml", parameter="filename")
    return sent_file(await context.scene.ask(SaveScene(file_name="scene.mrb" if name == BUNDLE else safe_name(name))))


async def _local(context: SlicerContext, asked: Asked, path: str) -> Loaded:
    """Looked at here as well as there: the scene's own folder is not for clients."""
    found = await asyncio.to_thread(places.existing, path, context.roots)
    return await context.scene.ask(_call(asked, str(found), asked.query.get("name", "")))


async def _remote(context: SlicerContext, asked: Asked, url: str) -> Loaded:
    allowed = Allowed(context.hosts, context.private_hosts)
    allowed.check(url)
    async with place(context, name_of(url) or "download") as path:
        await download(url, path, allowed, most=context.max_upload)
        return await context.scene.ask(_call(asked, str(path), asked.query.get("name", "")))


def _call(asked: Asked, path: str, name: str) -> LoadFile:
    return LoadFile(path=path, file_type=asked.query["filetype"], name=name, properties=_properties(asked.query))


def _properties(query: Mapping[str, str]) -> dict[str, str]:
    """What the reader or writer is told: everything that is not for us."""
    return {name: value for name, value in query.items() if name not in _TAKEN}


def _path_of(url: str) -> str:
    """The path of an address that is to be written to: of ``file:`` only."""
    if url and not url.lower().startswith("file:"):
        raise InvalidRequest("Nodes are written to files, not to addresses", parameter="url")
    return url


def _truth(text: str) -> bool:
    return text.lower() == "true" or (text.lstrip("-").isdecimal() and text.strip("-0") != "")
