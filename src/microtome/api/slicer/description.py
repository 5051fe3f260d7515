"""The OpenAPI 3.1 description of ``/scene/v1``, made of the table of its routes and the calls in it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from inspect import cleandoc
from typing import Any

import msgspec

from microtome.api.slicer.safe import PREFIX, Row
from microtome.scene.calls.base import File, Picture, answer_type

_REFERENCE = "#/components/schemas/{name}"
_PLACE = re.compile(r"\{(\w+)\}")
_PICTURES = ("image/png", "image/jpeg", "image/webp")
_HIDDEN = {"known"}


def described(table: Sequence[Row], version: str) -> dict[str, Any]:
    """The document. Fields the client has no say in are not in it."""
    answers = [answer_type(row.call) for row in table]
    shown = {each for each in answers if each not in {Picture, File, bytes, type(None)}}
    inner = {row.inner[1] for row in table if row.inner is not None}
    kinds: list[Any] = [*{row.call for row in table}, *inner, *shown]
    schemas, components = msgspec.json.schema_components(kinds, ref_template=_REFERENCE)
    by_kind = dict(zip([str(kind) for kind in kinds], schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for row in table:
        paths.setdefault(PREFIX + row.path, {})[row.method.lower()] = _operation(row, by_kind, components)
    for row in table:
        components.pop(row.call.__name__, None)
    components["Error"] = {
        "type": "object",
        "properties": {"error": {"type": "string"}, "message": {"type": "string"}},
        "required": ["error", "message"],
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "microtome scene", "version": version, "description": cleandoc(_ABOUT)},
        "paths": paths,
        "components": {"schemas": components},
    }


def _operation(row: Row, schemas: dict[str, Any], components: dict[str, Any]) -> dict[str, Any]:
    first, _, rest = cleandoc(row.call.__doc__ or "").partition("\n")
    places = set(_PLACE.findall(row.path))
    fields = _fields(row, components)
    found: dict[str, Any] = {
        "tags": [row.tag],
        "summary": first.rstrip("."),
        "description": rest.strip().replace("``", "`"),
        "operationId": row.method.lower() + _PLACE.sub("", row.path).title().replace("/", "").replace(".", ""),
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in sorted(places)
        ],
        "responses": {"200": _answer(row, schemas), "default": _failure()},
    }
    given = {name: schema for name, schema in fields.items() if name not in places}
    if row.method == "GET":
        found["parameters"] += [{"name": name, "in": "query", "schema": schema} for name, schema in given.items()]
    elif given:
        required = [name for name in components[row.call.__name__].get("required", ()) if name in given]
        schema: dict[str, Any] = {"type": "object", "properties": given, "additionalProperties": False}
        if required:
            schema["required"] = required
        found["requestBody"] = {"content": {"application/json": {"schema": schema}}, "required": bool(required)}
    return found


def _fields(row: Row, components: dict[str, Any]) -> dict[str, Any]:
    """What a client may say, by name: fields of the call, and those of the structure that stand in the query."""
    found = dict(components[row.call.__name__]["properties"])
    if row.inner is not None:
        found.pop(row.inner[0])
        found.update(components[row.inner[1].__name__]["properties"])
    return {name: schema for name, schema in found.items() if name not in row.fixed and name not in _HIDDEN}


def _answer(row: Row, schemas: dict[str, Any]) -> dict[str, Any]:
    kind = answer_type(row.call)
    if kind is type(None) or kind is None:
        return {"description": "Done (204)"}
    if kind is Picture:
        return {"description": "The picture", "content": {name: {} for name in _PICTURES}}
    if kind is File:
        return {"description": "The file", "content": {"application/octet-stream": {}}}
    if kind is bytes:
        return {"description": "The file", "content": {row.media_type: {}}}
    return {"description": "How it is now", "content": {"application/json": {"schema": schemas[str(kind)]}}}


def _failure() -> dict[str, Any]:
    schema = {"$ref": _REFERENCE.format(name="Error")}
    return {"description": "What was wrong, and what to do", "content": {"application/json": {"schema": schema}}}


_ABOUT = """
    A scene of MRML nodes as 3D Slicer has it: load, look, change, measure, save.

    Coordinates are RAS (right, anterior, superior) in mm. GET changes nothing; pictures have an ETag and are made of
    views that stay where they are. A websocket for live views is at /scene/v1/views/{view}/stream, server-sent events
    of changes at /scene/v1/events.
    """
