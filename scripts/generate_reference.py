"""Write docs/reference/ from the code: run it after a change of a setting, command, error or route."""

from __future__ import annotations

import asyncio
import inspect
import re
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
from fastapi import FastAPI
from fastapi.routing import RouteContext, iter_route_contexts
from starlette.routing import BaseRoute, Mount

from microtome import errors, settings
from microtome.api import errors as wires
from microtome.api.wsi_v3 import errors as v3_wires
from microtome.app import create_app
from microtome.cli.main import commands
from microtome.errors import MicrotomeError
from microtome.formats.isolated import ReaderDied

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "reference"
MARK = "<!-- From here on written by scripts/generate_reference.py: change the code and run it again. -->\n"
GROUPS = {
    "storage": "Where the slides are, and how they are read.",
    "server": "Where the server listens, how many processes it has, what it logs.",
    "access": "Who may see slides, and which web pages may show them.",
    "caches": "What is kept in memory and on disk so that it need not be read or rendered again.",
    "formats": "Which files are read, and how.",
    "v3": "The API of WSI-Service.",
    "login": "Who may use the v3 API.",
    "dicom": "DICOMweb, and the viewer OHIF.",
    "scene": "The Slicer scene: its files, who may use it, what it may take.",
    "pixels": "How pictures are made, and how large they may be.",
}
KINDS = {"text": "text", "optional_text": "text", "name_of_bucket": "text",
         "boolean": "switch", "networks": "list", "whole": "whole number", "size": "size",
         "duration": "time", "items": "list", "color": "colour", "priorities": "list",
         "optional_path": "path"}  # fmt: skip
COMPUTED = {"render_threads": "number of CPUs"}  # defaults that depend on the machine
UNNAMED = {
    "/openapi.json": "The description of the routes for programs",
    "/v3/openapi.json": "The description of the v3 routes for programs",
    "/browse/{path}": "The files of OHIF",
    "/browse": "The way to OHIF",
    "/alive": "Whether the server answers, and which formats it reads",
}  # routes that cannot say what they are
PREFIXED = {"/v3/": "v3: ", "/dicom": "DICOMweb: ", "/slicer": "Slicer: ", "/system": "Slicer: ",
            "/scene/v1": "Scene: "}  # fmt: skip
SIGNED = "Make a new URL with `microtome sign`, or ask whoever gave you this one."


def streamer(error: MicrotomeError) -> str:
    """Status and code of the family."""
    wire = wires.wire(error)
    return f"{wire.status} `{wire.code}`{', again' if wire.retry else ''}"


def wsi_v3(error: MicrotomeError) -> str:
    """Status of the family, whose errors have no codes."""
    return str(v3_wires.status_of(error))


FAMILIES = {"streamer": streamer, "wsi_v3": wsi_v3}
CASES: tuple[tuple[MicrotomeError, str, str], ...] = (  # when each error occurs, and what to do
    (errors.NotFound("slide", ""), "There is no such slide, or the slide has no such picture, level or profile.",
         "List what exists with `/slides`. A `/` within a key is written `%2F`."),
    (errors.InvalidRequest("", parameter="level"), "The slide has no such level.",
         "Levels count from 0, the full resolution; `/slides/{slide_id}` lists them."),
    (errors.InvalidRequest("", parameter="tile"), "The tile lies outside of its level.",
         "Columns and rows count from 0; the message names the largest."),
    (errors.InvalidRequest("", parameter="quality"), "The quality is not from 1 to 100.",
         "Choose one of these, or leave it out."),
    (errors.InvalidRequest("", parameter="cursor"), "The cursor was not made by this listing.",
         "Start again without `cursor`, then use each `next_cursor` unchanged."),
    (errors.InvalidRequest("", parameter=""), "Another parameter, or a setting of the server, makes no sense.",
         "The message names it and says what is possible."),
    (errors.NotAcceptable(""), "No form of the answer is one that the client accepts. No route of today says it.",
         "Accept one of the media types that the message lists."),
    (errors.LimitExceeded("", limit=""), "What was asked for, or what a file claims to hold, is too large.",
         "Ask for less. The operator may raise the [setting](settings.md#pixels) that the message names; limits on the"
         " inner structure of files are fixed."),
    (errors.UnsupportedFormat(""), "The file is no slide, or uses something that microtome does not read; or the"
         " store cannot do it, such as a web server, which lists no slides.",
         "`microtome inspect` tells what a file holds. Convert the file, or ask for the slide by its key."),
    (errors.CorruptData(""), "The file breaks the rules of its own format: often a copy that was cut off.",
         "Compare it with the original and copy it again."),
    (wires.BrokenTile(""), "One tile is damaged; others of the slide can be read.",
         "Compare the file with the original and copy it again."),
    (errors.Conflict(""), "The file was replaced while it was read.", "Repeat the request: it meets the new file."),
    (errors.Unauthenticated("", reason="missing_signature"), "The URL has no `sig`.", SIGNED),
    (errors.Unauthenticated("", reason="missing_expiry"), "The URL has no `exp`.", SIGNED),
    (errors.Unauthenticated("", reason="signature_expired"), "The time in `exp` is over.", SIGNED),
    (errors.Unauthenticated("", reason="invalid_signature"), "The signature was made for another path or query, or"
         " with another secret.", "Sign path and query exactly as they are sent. Compare the secrets."),
    (errors.Unauthenticated("", reason="invalid_signature_format"), "The signature is not hexadecimal, or is given"
         " twice.", "Copy the URL completely and unchanged."),
    (errors.Unauthenticated("", reason="invalid_expiry_format"), "`exp` is no whole number, or is given twice.",
         "`exp` is a unix time in seconds."),
    (errors.Forbidden(""), "The caller is known and may not do this: pages for administrators, and"
         " whatever is not DICOMweb for who sees no identities.",
         "Ask whoever runs the server for access."),
    (errors.StorageUnavailable("", unreachable=True), "The server has no connection to the store of the slides.",
         "Try later. The operator checks the network and `s3_endpoint`."),
    (errors.StorageUnavailable("", timed_out=True), "The store did not answer in time.",
         "Try again. The operator may raise `storage_timeout`."),
    (errors.StorageUnavailable("", permanent=True), "The store denies access, or the bucket does not exist.",
         "Trying again does not help. The operator runs `microtome check` and corrects credentials, region or place."),
    (errors.StorageUnavailable(""), "The store failed in passing.", "Try again."),
    (v3_wires.NotProvided(""), "The slide is a set of vector tiles and has no pixels. Only v3 says it.",
         "Ask for its tiles, or for `/v3/slides/info`."),
    (ReaderDied(""), "The process that reads this slide crashed or hung; the next read has a new one. Only formats in"
         " `isolate` say it.",
         "Try again once. When it happens again, the file breaks the library that reads it: convert it, and tell us."),
    (errors.Busy(""), "As many tiles wait to be rendered as `render_queue` allows.",
         "Try again. The operator may add `workers` or machines."),
)  # fmt: skip


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of Markdown."""
    cells = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *cells))


def code(*names: str) -> str:
    """Names as code."""
    return ", ".join(f"`{name}`" for name in names)


def binary(number: float) -> str:
    """A number of bytes for people."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if number < 1024:
            return f"{number:g} {unit}"
        number /= 1024
    return f"{number:g} PiB"


def value(option: settings.Option) -> str:
    """What values an option takes."""
    name = getattr(option.parse, "__qualname__", "").partition(".")[0]
    bounds = inspect.getclosurevars(option.parse).nonlocals  # of the parsers that have some
    shown = [binary(bounds[end]) if name == "size" else str(bounds[end]) for end in ("low", "high") if bounds]
    return ", ".join(filter(None, (KINDS[name], " to ".join(shown))))


def default(name: str, option: settings.Option) -> str:
    """The default of an option."""
    found = settings.default_of(name)
    if name in COMPUTED or found in (None, (), ""):
        return COMPUTED.get(name, "none")
    if isinstance(found, (bool, tuple)):
        return code(",".join(map(str, found)) if isinstance(found, tuple) else str(found).lower())
    shown = code(f"{found:g}" if isinstance(found, float) else str(found))
    return f"{shown} ({binary(found)})" if option.unit == "bytes" else f"{shown} {option.unit}".strip()


def settings_page() -> Iterator[str]:
    """All settings by group."""
    flags = {each.name: [*each.opts, *each.secondary_opts] for each in commands.commands["serve"].params}
    groups: dict[str, list[Sequence[str]]] = {group: [] for group in GROUPS}
    for name, option in settings.options().items():
        flag = code(*flags[name]) if name in flags else "`PATH|URL`, without an option"
        variables = code(*filter(None, (settings.variable(name), option.wsi, option.ws)))
        meaning = f"{option.help}.{' Never shown.' if option.secret else ''}"
        groups[option.group].append((code(name), flag, variables, value(option), default(name, option), meaning))
    head = ("Setting, TOML key", "Command line", "Environment", "Value", "Default", "Meaning")
    for group, rows in groups.items():
        yield from (f"## {group.title()}", GROUPS[group], table(head, rows))


def cli_page() -> Iterator[str]:
    """All commands."""
    root = click.Context(commands, info_name="microtome", **commands.context_settings)
    rows = [(f"[{name}](#{name})", each.get_short_help_str(200)) for name, each in commands.commands.items()]
    yield from (table(("Command", "What it does"), rows), "Options of `microtome` itself:", *options(root))
    for name, command in commands.commands.items():
        context = click.Context(command, root, info_name=name)
        usage = f"{context.command_path} {' '.join(command.collect_usage_pieces(context))}"
        yield from (f"## {name}", inspect.cleandoc(command.help or ""), code(usage), *options(context))


def options(context: click.Context) -> Iterator[str]:
    """What a command takes."""
    known = settings.options()
    own: list[Sequence[str]] = []
    shared: list[Sequence[str]] = []
    for each in context.command.get_params(context):
        record = each.get_help_record(context)
        if isinstance(each, click.Argument) and isinstance(each.default, (str, Path)):
            yield f"{code(each.human_readable_name)} is {code(str(each.default))} when it is left out."
        elif isinstance(each, click.Argument) or record is None:
            continue
        elif option := known.get(each.name or ""):
            shared.append((code(record[0]), f"{option.help}.", f"[{each.name}](settings.md#{option.group})"))
        else:
            own.append((code(record[0]), " ".join(record[1].split())))
    yield table(("Option", "Meaning"), own)
    if shared:
        yield "Settings that may be given as options:"
        yield table(("Option", "Meaning", "Setting"), shared)


def errors_page() -> Iterator[str]:
    """All error classes. Raises LookupError for one that has no case."""
    # Behind the vocabulary those of other rooms, in no order that depends on what was imported first.
    others = {kind: kind.__name__ for kind in MicrotomeError.__subclasses__() if kind.__module__ != errors.__name__}
    for kind in sorted(MicrotomeError.__subclasses__(), key=lambda kind: others.get(kind, "")):
        rows = [(*(wire(error) for wire in FAMILIES.values()), *said) for error, *said in CASES if type(error) is kind]
        if rows:
            doc = inspect.cleandoc(kind.__doc__ or "").replace("``", "`")
            yield from (f"## {kind.__name__}", f"In Python: {doc}", table((*FAMILIES, "When", "What to do"), rows))
        elif kind.__module__.startswith("microtome."):
            raise LookupError(f"say in CASES when {kind.__name__} occurs and what to do")


def said(route: RouteContext) -> str:
    """What the handler of a plain route says of itself."""
    doc = inspect.getdoc(getattr(route.original_route, "endpoint", None)) or ""
    return "" if doc.startswith("_") else doc.partition("\n")[0].rstrip(".").replace("``", "`")


def mounted(routes: Sequence[BaseRoute], prefix: str = "") -> Iterator[tuple[str, set[str], str]]:
    """(path, methods, summary) of every route, those that OpenAPI does not tell included."""
    for route in iter_route_contexts(routes):
        if isinstance(route.original_route, Mount):
            yield from mounted(route.original_route.routes, prefix + route.original_route.path)
        else:
            path = prefix + (route.path_format or route.path or "").replace("{rest}", "")
            yield path, route.methods or {"WebSocket"}, getattr(route, "summary", None) or said(route) or UNNAMED[path]


def described(app: FastAPI) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """The operations of OpenAPI by path and the schemas by name, those of mounted applications included."""
    document = app.openapi()
    paths = {path: next(iter(operations.values())) for path, operations in document["paths"].items()}
    schemas = dict(document.get("components", {}).get("schemas", {}))
    for route in app.routes:
        inner = getattr(route.app, "app", None) if isinstance(route, Mount) else None
        if isinstance(inner, FastAPI) and isinstance(route, Mount):
            further, more = described(inner)
            paths |= {route.path + path: operation for path, operation in further.items()}
            schemas |= more
    return paths, schemas


def anchor(heading: str) -> str:
    """What a link to a heading says behind the ``#``."""
    return re.sub(r"[^a-z0-9 _-]", "", heading.lower()).replace(" ", "-")


def routes_page() -> Iterator[str]:
    """All routes of the application. Paths that say the same of themselves stand together."""
    with tempfile.TemporaryDirectory() as folder:
        app = create_app(settings.Settings(data=folder, scene=True))
        operations, schemas = described(app)
        asyncio.run(app.state.services.tiles.close())
    routes: dict[str, dict[str, set[str]]] = {}
    for path, methods, summary in mounted(app.routes):
        # Below /v3, HEAD is answered before the routes.
        family = next((name for start, name in PREFIXED.items() if path.startswith(start)), "")
        name = family + summary
        routes.setdefault(name, {}).setdefault(path, set()).update(methods | {"HEAD"})
    yield table(
        ("What", "Path"),
        [(f"[{summary}](#{anchor(summary)})", code(*each)) for summary, each in routes.items()],
    )
    statuses: dict[str, str] = {}
    for summary, each in routes.items():
        operation: dict[str, Any] = next((operations[path] for path in each if path in operations), {})
        yield f"## {summary}"
        yield "\n".join(f"- `{path}`: {', '.join(sorted(methods))}" for path, methods in each.items())
        text = operation.get("description", "")
        if text.rstrip(".") not in summary:
            yield text
        if operation.get("parameters"):
            yield table(
                ("Parameter", "In", "Value", "Meaning"), [parameter(each, schemas) for each in operation["parameters"]]
            )
        if answers := operation.get("responses"):
            statuses |= {status: each["description"] for status, each in answers.items()}
            yield f"Answers {code(*answers['200']['content'])}; statuses {', '.join(answers)}."
    yield from ("## Statuses", "[Errors](errors.md) lists their codes and what to do.")
    yield table(("Status", "Meaning"), sorted(statuses.items()))


def parameter(found: dict[str, Any], schemas: dict[str, Any]) -> Sequence[str]:
    """A row for a parameter of OpenAPI."""
    schema = found["schema"]
    schema = next((each for each in schema.get("anyOf", ()) if each.get("type") != "null"), schema)
    if "$ref" in schema:
        schema = schemas[schema["$ref"].rpartition("/")[2]]
    several = schema["type"] == "array"
    schema = schema["items"] if several else schema
    kind = {"string": "text", "integer": "whole number"}.get(schema["type"], schema["type"])
    kind = f"{kind}, repeated" if several else kind
    bounds = f", {schema.get('minimum', 'any')} to {schema['maximum']}" if "maximum" in schema else ""
    shown = code(*schema["enum"]) if "enum" in schema else f"{kind}{bounds}"
    return code(found["name"]), found["in"] + (", required" if found["required"] else ""), shown, found["description"]


PAGES = {"settings.md": settings_page, "cli.md": cli_page, "errors.md": errors_page, "routes.md": routes_page}


def updated(name: str) -> str:
    """A page as it should be: its beginning is written by hand, what follows the mark comes from the code."""
    beginning, mark, _ = (FOLDER / name).read_text("utf-8").partition(MARK)
    return "\n".join((beginning + mark, "\n\n".join(PAGES[name]()), ""))


if __name__ == "__main__":
    for name in PAGES:
        (FOLDER / name).write_text(updated(name), "utf-8")
