"""``/slicer/mrml``: nodes by id, class and name; what they say of themselves; files in and out; removal."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.responses import Response

from microtome.api.slicer.context import JSON, Asked, SlicerContext, answered, done
from microtome.api.slicer.failures import failed
from microtome.api.slicer.files import export, load
from microtome.api.slicer.studies import opened
from microtome.errors import InvalidRequest
from microtome.scene.calls.nodes import ListNodes, NodeProperties, ReloadNodes, RemoveNodes


async def mrml(context: SlicerContext, asked: Asked) -> Response:
    """Names, ids and properties of nodes (GET); load a file (POST), read again (PUT), remove or clear (DELETE)."""
    match asked.method:
        case "GET":
            find = _GET.get(asked.rest.rstrip("/"))
            if find is None:
                raise InvalidRequest(f"Invalid path: /mrml{asked.rest[:200]}", parameter="path")
            return await find(context, asked)
        case "POST":
            url = asked.query.get("url", "")
            return await (opened(context, asked, url) if url.lower().startswith("slicer:") else load(context, asked))
        case "PUT":
            reloaded = await context.scene.ask(ReloadNodes(nodes=asked.nodes))
            return done(reloadedNodeIDs=reloaded) if reloaded else _nothing()
        case "DELETE":
            chosen = any(asked.query.get(name) for name in ("id", "class", "name"))
            await context.scene.ask(RemoveNodes(nodes=asked.nodes if chosen else None))
            return done()
        case _:
            return failed(f"/mrml has no {asked.method}", 405)


async def _names(context: SlicerContext, asked: Asked) -> Response:
    return answered(asked.request, [node.name for node in await context.scene.ask(ListNodes(nodes=asked.nodes))])


async def _ids(context: SlicerContext, asked: Asked) -> Response:
    return answered(asked.request, [node.id for node in await context.scene.ask(ListNodes(nodes=asked.nodes))])


async def _properties(context: SlicerContext, asked: Asked) -> Response:
    return answered(asked.request, await context.scene.ask(NodeProperties(nodes=asked.nodes)))


def _nothing() -> Response:
    """No node had a file: no error in the original."""
    return Response(b'{"success":false}', headers={"content-type": JSON, "cache-control": "no-cache"})


_GET: dict[str, Callable[[SlicerContext, Asked], Awaitable[Response]]] = {
    "": _names,
    "/names": _names,
    "/ids": _ids,
    "/properties": _properties,
    "/file": export,
}
