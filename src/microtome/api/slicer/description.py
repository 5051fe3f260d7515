"""The OpenAPI 3.1 description of ``/scene/v1``, made of the tables of its routes and the structures in them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from inspect import cleandoc
from typing import Any, cast

import msgspec

from microtome.api.slicer.own import Own
from microtome.api.slicer.safe import PREFIX, Row
from microtome.scene.calls.base import Picture, answer_type
from microtome.scene.slices.overlay import KINDS

JSON = "application/json"
_SCHEMA = "#/components/schemas/{name}"
_PLACE = re.compile(r"\{(\w+)\}")
_PICTURES = ("image/png", "image/jpeg", "image/webp")
_HIDDEN = {"known"}
_READ: dict[str, dict[str, Any]] = {
    "size": {"type": "string", "pattern": "^[0-9]{1,5}([x,][0-9]{1,5})?$", "examples": ["512,512"]},
    "overlay": {"type": "array", "items": {"type": "string", "enum": [*sorted(KINDS), "all", "none"]}},
    "format": {"type": "string", "enum": ["png", "jpeg", "webp"], "default": "png"},
}
"""What the fields that are read in a way of their own look like in a query."""
_SAID = {
    "size": "Width and height of the picture in px; one number is both",
    "overlay": "What is drawn over it, separated by commas",
    "format": "Of the picture",
    "quality": "Of JPEG and WebP, 1 to 100",
}
_PLACES = {
    "id": "Id of a node",
    "view": "Red, Yellow or Green",
    "segment": "Id of a segment",
    "name": "Name of the sample data",
}
_FAILURES = {
    "400": ("Wrong", "Something that was asked for is wrong, or there is nothing to take back"),
    "401": ("Unknown", "Credentials are missing or wrong"),
    "403": ("Forbidden", "This may not be done, or not from that page"),
    "404": ("Missing", "There is no such node, segment, view or file"),
    "413": ("TooLarge", "Larger than the operator allows"),
    "415": ("Unsupported", "Files of this kind, or damaged as this one is, are not read"),
    "503": ("Unavailable", "The scene is busy or starting again, or something it needs is not installed"),
}


def described(table: Sequence[Row], own: Sequence[Own], version: str) -> dict[str, Any]:
    """The document. Fields the client has no say in are not in it."""
    schemas = _Schemas(table, own)
    paths: dict[str, dict[str, Any]] = {}
    for row in table:
        paths.setdefault(PREFIX + row.path, {})[row.method.lower()] = _of_call(row, schemas)
    for each in own:
        paths.setdefault(PREFIX + each.path, {})[each.method.lower()] = _of_own(each, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "microtome scene", "version": version, "description": cleandoc(_ABOUT)},
        "paths": paths,
        "components": {
            "schemas": {**schemas.shown(), "Error": _ERROR},
            "responses": {name: _failure(text) for name, text in (*_FAILURES.values(), ("Other", "Anything else"))},
        },
    }


class _Schemas:
    """The schemas of all structures: those of questions, parameters and bodies only within operations."""

    def __init__(self, table: Sequence[Row], own: Sequence[Own]) -> None:
        answers = {answer_type(row.call) for row in table} - {Picture, bytes, type(None)}
        answers |= {row.answer for row in own if isinstance(row.answer, type)}
        inner = {row.inner[1] for row in table if row.inner is not None}
        parts = {part for row in own for part in (row.query, row.headers, row.body) if isinstance(part, type)}
        asked = {row.call for row in table} | inner | parts
        kinds: list[Any] = sorted(asked | answers, key=str)
        found, components = msgspec.json.schema_components(kinds, ref_template=_SCHEMA)
        self._components: dict[str, dict[str, Any]] = _plainer(components)
        self._found = dict(zip([str(kind) for kind in kinds], found, strict=True))
        self._hidden = {kind.__name__ for kind in asked - answers}

    def of(self, kind: Any) -> dict[str, Any]:
        """The schema of an answer."""
        return self._found[str(kind)]

    def object(self, kind: type[Any]) -> dict[str, Any]:
        """The schema of a structure, with its fields."""
        return self._components[kind.__name__]

    def shown(self) -> dict[str, Any]:
        """Those that others refer to."""
        return {name: schema for name, schema in self._components.items() if name not in self._hidden}


def _plainer(schema: Any) -> Any:
    """Fixed numbers of items of one kind as many tools know them, who do not know ``prefixItems``."""
    if isinstance(schema, list):
        return [_plainer(each) for each in cast("list[Any]", schema)]
    if not isinstance(schema, dict):
        return schema
    found = {key: _plainer(value) for key, value in cast("dict[str, Any]", schema).items()}
    items = found.get("prefixItems")
    if items and all(each == items[0] for each in items):
        del found["prefixItems"]
        found["items"] = items[0]
    return found


def _of_call(row: Row, schemas: _Schemas) -> dict[str, Any]:
    fields = dict(schemas.object(row.call)["properties"])
    if row.inner is not None:
        fields.pop(row.inner[0])
        fields.update(schemas.object(row.inner[1])["properties"])
    places = _PLACE.findall(row.path)
    hidden = {*row.fixed, *_HIDDEN, *places}
    given = {name: schema for name, schema in fields.items() if name not in hidden}
    found = _operation(row.method, row.path, row.tag, cleandoc(row.call.__doc__ or ""))
    if row.inner is not None and (more := cleandoc(row.inner[1].__doc__ or "").partition("\n\n")[2]):
        found["description"] = f"{found['description']}\n\n{_plain(more)}".strip()
    if row.method == "GET":
        found["parameters"] += [_in_query(name, schema) for name, schema in given.items()]
    elif given:
        required = [name for name in schemas.object(row.call).get("required", ()) if name in given]
        schema = {"type": "object", "properties": given, "additionalProperties": False}
        schema |= {"required": required} if required else {}
        found["requestBody"] = {"content": {JSON: {"schema": schema}}, "required": bool(required)}
    found["responses"] = _responses(row.method, _answer(row, schemas))
    return found


def _of_own(row: Own, schemas: _Schemas) -> dict[str, Any]:
    found = _operation(row.method, row.path, row.tag, cleandoc(row.handler.__doc__ or ""))
    for kind, place in ((row.query, "query"), (row.headers, "header")):
        if kind is not None:
            found["parameters"] += _parameters(schemas.object(kind), place)
    if row.more:
        schema = {"type": "object", "additionalProperties": {"type": "string"}}
        found["parameters"].append({"name": "properties", "in": "query", "description": row.more, "schema": schema})
    if isinstance(row.body, str):
        found["requestBody"] = {"content": {row.body: {}}, "required": True}
    elif row.body is not None:
        found["requestBody"] = {"content": {JSON: {"schema": schemas.object(row.body)}}, "required": True}
    if isinstance(row.answer, tuple):
        answer: dict[str, Any] = {"description": "The file", "content": {name: {} for name in row.answer}}
    else:
        answer = {"description": "What came of it", "content": {JSON: {"schema": schemas.of(row.answer)}}}
    found["responses"] = _responses(row.method, {"200": answer})
    return found


def _operation(method: str, path: str, tag: str, text: str) -> dict[str, Any]:
    first, _, rest = text.partition("\n\n")
    words = (word for word in re.split(r"[/._]", _PLACE.sub("by", path)) if word)
    return {
        "tags": [tag],
        "summary": _plain(first).rstrip("."),
        "description": _plain(rest),
        "operationId": method.lower() + "".join(word.title() for word in words),
        "parameters": [
            {"name": name, "in": "path", "required": True, "description": _PLACES[name], "schema": {"type": "string"}}
            for name in _PLACE.findall(path)
        ],
    }


def _plain(text: str) -> str:
    return " ".join(text.replace("``", "`").split())


def _in_query(name: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    """A field as a query has it: lists as one text, nothing for what is None."""
    known = _READ.get(name)
    shape = dict(schema) if known is None else dict(known)
    choices = [each for each in shape.pop("anyOf", ()) if each != {"type": "null"}]
    if choices:
        shape = {**shape, **choices[0]}
    if shape.get("default", ...) is None:
        del shape["default"]
    found: dict[str, Any] = {"name": name, "in": "query", "schema": shape}
    if name in _SAID:
        found["description"] = _SAID[name]
    return found | ({"style": "form", "explode": False} if shape.get("type") == "array" else {})


def _parameters(schema: Mapping[str, Any], place: str) -> Iterable[dict[str, Any]]:
    for name, each in schema["properties"].items():
        shape = dict(each)
        said = {"description": shape.pop("description")} if "description" in shape else {}
        required = {"required": True} if name in schema.get("required", ()) else {}
        yield {"name": name, "in": place, **said, **required, "schema": shape}


def _responses(method: str, answers: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(answers)
    if method == "GET":
        found["304"] = {"description": "It is still what If-None-Match names"}
    for status, (name, _) in _FAILURES.items():
        found[status] = {"$ref": f"#/components/responses/{name}"}
    return {**found, "default": {"$ref": "#/components/responses/Other"}}


def _answer(row: Row, schemas: _Schemas) -> dict[str, Any]:
    kind = answer_type(row.call)
    if kind is type(None) or kind is None:
        return {"204": {"description": "Done"}}
    if kind is Picture:
        return {"200": {"description": "The picture", "content": {name: {} for name in _PICTURES}}}
    if kind is bytes:
        return {"200": {"description": "The file", "content": {row.media_type: {}}}}
    return {"200": {"description": "How it is now", "content": {JSON: {"schema": schemas.of(kind)}}}}


def _failure(text: str) -> dict[str, Any]:
    return {"description": text, "content": {JSON: {"schema": {"$ref": _SCHEMA.format(name="Error")}}}}


_ERROR = {
    "type": "object",
    "description": "What was wrong, and what to do.",
    "properties": {
        "error": {"type": "string", "description": "A word for programs, such as not_found"},
        "message": {"type": "string", "description": "A sentence for people"},
        "status": {"type": "integer", "description": "The status of the answer"},
    },
    "required": ["error", "message", "status"],
}
_ABOUT = """
    A scene of MRML nodes as 3D Slicer has it: load, look, change, measure, save.

    Coordinates are RAS (right, anterior, superior) in mm. GET changes nothing; pictures have an ETag and are made of
    views that stay where they are.

    `GET /scene/v1/views/{view}/stream` is a websocket of live pictures of a view (Red, Yellow, Green or 3d), which
    OpenAPI cannot describe. The client sends JSON objects: what to move (the fields of `PATCH /scene/v1/slices/{view}`,
    of a camera `PATCH /scene/v1/camera`), and `size`, `overlay`, `format`, `quality`, `number`. Each asks for a
    picture: a text message with `kind` ("moving" or "still"), `media_type`, `width`, `height`, `number`, `version` and
    the `state` of the view, then a binary one. Moving pictures of slices may be smaller than `size`: the same, to be
    stretched. The client answers each with `{"seen": number}`. What is wrong is told
    in a text message with `kind` "error" and a `message`.
    """
