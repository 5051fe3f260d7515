"""The web pages as text, and the files they load.

Nothing of a request but the slide's id and what the application configures goes into a page, and all of it is escaped.
Pages hold no inline script or style, so they can be sent under ``content_security_policy()``. Addresses begin with
``config["base"]``, the path a proxy puts before ours; without one they are relative (a page at ``/view/{id}`` finds the
rest at ``../``), so that a proxy may cut off a path we know nothing of. The Host header plays no part.

``config`` of a page: ``base`` as above; ``query``, credentials such as ``vt=...&exp=...`` that the page appends to its
requests; ``version``, shown at the foot of the page. Each may be left out.
"""

from __future__ import annotations

import hashlib
import html
import json
import math
import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from string import Template
from types import MappingProxyType
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

from microtome.model import Channel, SlideInfo

PROPERTY_COUNT = 500
"""Most properties of a slide that are written into its page."""
PROPERTY_LENGTH = 2000
"""Most characters of one of them."""

_HOST = re.compile(r"[a-z0-9._-]+")
_MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".json": "application/json",
}


_FOLDERS = {"viewer.js": ("slide", "picture", "vector", "marks"), "catalogue.js": ("catalogue", "vector"),
            "studies.js": ("studies", "dicom"), "problems.js": ("dicom",), "scene.js": ("scene",)}  # fmt: skip
"""Folders of the modules that a page loads besides ``shared``; the one of its own name where none is told."""


class StaticFile(NamedTuple):
    """A file the pages load. ``etag`` is quoted, as it stands in the header (RFC 9110 §8.8.3)."""

    body: bytes
    media_type: str
    etag: str


def content_security_policy(frame_ancestors: str = "'self'") -> str:
    """The value of the Content-Security-Policy header the pages are written for.

    ``frame_ancestors`` lists who may show them in a frame. ``blob:`` and ``data:`` are for images the page itself
    makes: a screenshot, a tile that was fetched.
    """
    return _policy(frame_ancestors)


def docs_content_security_policy(frame_ancestors: str = "'self'", token_url: str | None = None) -> str:
    """The same for ``docs_page``: Swagger UI writes styles, and gets its token from ``token_url`` itself."""
    return _policy(frame_ancestors, styles="'self' 'unsafe-inline'", connect=f"'self' {_origin(token_url)}".rstrip())


def _policy(frame_ancestors: str, *, styles: str = "'self'", connect: str = "'self'") -> str:
    return "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            f"style-src {styles}",
            "img-src 'self' data: blob:",
            f"connect-src {connect}",
            "font-src 'self'",
            "base-uri 'none'",
            "form-action 'self'",
            f"frame-ancestors {frame_ancestors}",
        )
    )


def _origin(url: str | None) -> str:
    """Scheme, host and port as a source of a policy (CSP 3 §2.3.1); nothing for what is no address of the web."""
    try:
        parts = urlsplit(url or "")
        host, port = parts.hostname, parts.port
    except ValueError:
        return ""
    if parts.scheme not in {"http", "https"} or host is None or not _HOST.fullmatch(host):
        return ""
    return f"{parts.scheme}://{host}{'' if port is None else f':{port}'}"


def slide_page(slide_id: str, info: SlideInfo, *, config: Mapping[str, Any]) -> str:
    """The viewer of one slide. Everything it needs to draw the first tile is in the page: it asks for no metadata."""
    base = _base(config, "..")
    encoded = quote(slide_id, safe="")
    folder, _, name = slide_id.rpartition("/")
    if name == info.properties.get("dicom.SeriesInstanceUID"):  # a series of an archive says nothing by its UID
        name = info.properties.get("dicom.SeriesDescription") or name
    page = {
        "base": base,
        "query": str(config.get("query", "")),
        "tiles": f"{base}/tiles/{encoded}/{{level}}/{{x}}/{{y}}.jpg",
        "slide": describe(slide_id, info),
    }
    levels = "".join(
        f"<tr><td>{number}</td><td>width: {level.size.width}, height: {level.size.height}</td>"
        f"<td>{level.downsample:.4g}\N{MULTIPLICATION SIGN}</td>"
        f"<td>{level.tile_size.width} \N{MULTIPLICATION SIGN} {level.tile_size.height}</td></tr>"
        for number, level in enumerate(info.levels)
    )
    return _template("slide.html").substitute(
        base=html.escape(base),
        name=html.escape(name or slide_id),
        folder=html.escape(f" / {folder}/" if folder else ""),
        folder_link=html.escape(f"{base}/?folder={quote(folder + '/', safe='')}" if folder else f"{base}/"),
        id=html.escape(slide_id),
        format=html.escape(info.format_name),
        width=info.size.width,
        height=info.size.height,
        level_count=len(info.levels),
        levels=levels,
        version=html.escape(str(config.get("version", ""))),
        preloads=_preloads(base, "viewer.js"),
        config=_json(page),
    )


def catalogue_page(config: Mapping[str, Any]) -> str:
    """The catalogue. It lists the slides itself, through ``/slides``.

    Where slides are not served, ``config["elsewhere"]`` is there: (title, path) of the pages that are of use instead.
    """
    base = _base(config, ".")
    more = {name: config[name] for name in ("elsewhere",) if name in config}
    return _template("catalogue.html").substitute(
        base=html.escape(base),
        version=html.escape(str(config.get("version", ""))),
        preloads=_preloads(base, "catalogue.js"),
        config=_json({"base": base, "query": str(config.get("query", ""))} | more),
    )


def docs_page(path: str, title: str, *, config: Mapping[str, Any]) -> str:
    """Swagger UI over the schema of an application: ``/openapi.json`` below ``path``, "" for the root.

    ``config["others"]`` are the (path, title) of all applications that have such a page, ``config["login"]`` whether
    Swagger UI may send people to a login; the page they come back to is ``docs_login_page``.
    """
    base = _base(config, "." + "/.." * path.count("/"))
    here = ' aria-current="page"'
    links = "".join(
        f'<a href="{html.escape(base + other)}/docs"{here if other == path else ""}>{html.escape(name)}</a>'
        for other, name in config.get("others", ())
    )
    back = f"{base}{path}/docs/oauth2-redirect" if config.get("login") else None
    return _template("docs.html").substitute(
        base=html.escape(base),
        title=html.escape(title),
        links=links,
        version=html.escape(str(config.get("version", ""))),
        preloads=_preloads(base, "docs.js"),
        config=_json({"base": base, "query": "", "schema": f"{base}{path}/openapi.json", "login": back}),
    )


def docs_login_page(path: str, *, config: Mapping[str, Any]) -> str:
    """Where a login sends people back to, for the page of documentation at ``path`` that opened it."""
    base = _base(config, "./.." + "/.." * path.count("/"))
    return _template("docs-login.html").substitute(base=html.escape(base))


def validation_page(config: Mapping[str, Any]) -> str:
    """The page that asks for everything of every slide through ``/v3``.

    ``config["login"]``: ``token`` where requests need a bearer token, ``signed`` where they need signed links,
    ``none``. ``config["thumbnail"]`` is the largest side of a thumbnail and ``config["region"]`` that of a region which
    the server allows, in px. ``config["viewer"]``: whether there is a page for each slide.
    """
    base = _base(config, ".")
    shown = {name: config[name] for name in ("login", "thumbnail", "region", "viewer") if name in config}
    return _template("validation.html").substitute(
        base=html.escape(base),
        version=html.escape(str(config.get("version", ""))),
        preloads=_preloads(base, "validation.js"),
        config=_json({"base": base, "query": str(config.get("query", ""))} | shown),
    )


def studies_page(*, config: Mapping[str, Any]) -> str:
    """Studies, series and slices; the page asks DICOMweb itself.

    ``config["up"]`` leads from the page to the root, ``login`` is as for ``validation_page``, ``ohif`` tells that OHIF
    is at ``/browse/``, ``notice`` is a sentence that stands above the list.
    """
    base = _base(config, config["up"])
    shown = {name: config[name] for name in ("login", "ohif", "notice") if name in config}
    return _template("studies.html").substitute(
        base=html.escape(base),
        version=html.escape(str(config.get("version", ""))),
        preloads=_preloads(base, "studies.js"),
        config=_json({"base": base, "query": str(config.get("query", ""))} | shown),
    )


def scene_page(*, config: Mapping[str, Any]) -> str:
    """The views of the Slicer scene; the page asks ``/scene/v1`` itself. ``config["base"]`` as for all pages.

    ``config["log"]``: whether the last requests are kept there.
    """
    base = _base(config, ".")
    return _template("scene.html").substitute(
        base=html.escape(base),
        preloads=_preloads(base, "scene.js"),
        config=_json({"base": base, "query": str(config.get("query", "")), "log": bool(config.get("log"))}),
    )


def problems_page(*, config: Mapping[str, Any]) -> str:
    """Files that are not served as DICOM, and why; ``config`` as for ``studies_page``."""
    base = _base(config, config["up"])
    return _template("problems.html").substitute(
        base=html.escape(base),
        version=html.escape(str(config.get("version", ""))),
        preloads=_preloads(base, "problems.js"),
        config=_json({"base": base, "query": str(config.get("query", "")), "login": config.get("login", "none")}),
    )


def error_page(status: int, title: str, message: str, *, config: Mapping[str, Any]) -> str:
    """What a person sees in place of a viewer: ``title`` says what happened, ``message`` why and what to do."""
    base = _base(config, "..")
    return _template("error.html").substitute(
        base=html.escape(base),
        status=int(status),
        title=html.escape(title),
        message=html.escape(message),
    )


@cache
def static_files() -> Mapping[str, StaticFile]:
    """URL path (``/static/...``) -> file; read once from the package and kept; some 3 MB, most of it Swagger UI."""
    found: dict[str, StaticFile] = {}
    for path, resource in _walk(files("microtome.viewer") / "static", "/static"):
        media_type = _MEDIA_TYPES.get(path[path.rfind(".") :])
        if media_type is not None:
            body = resource.read_bytes()
            found[path] = StaticFile(body, media_type, f'"{hashlib.sha256(body).hexdigest()[:20]}"')
    return MappingProxyType(found)


def describe(slide_id: str, info: SlideInfo) -> dict[str, Any]:
    """The answer of ``/slides/{id}``, also what the viewer page reads; what is not known is left out."""
    spacing = info.spacing_um if info.spacing_um and all(_is_positive(value) for value in info.spacing_um) else None
    facts: dict[str, Any] = {
        "slide_id": slide_id,
        "format": info.format_name,
        "width": info.size.width,
        "height": info.size.height,
        "level_count": len(info.levels),
        "levels": [
            {
                "level": number,
                "width": level.size.width,
                "height": level.size.height,
                "tile_width": level.tile_size.width,
                "tile_height": level.tile_size.height,
                "tiles_x": level.columns,
                "tiles_y": level.rows,
                "downsample": level.downsample,
            }
            for number, level in enumerate(info.levels)
        ],
        "mpp_x": spacing[0] if spacing else None,
        "mpp_y": spacing[1] if spacing else None,
        "magnification": info.magnification if _is_positive(info.magnification) else None,
        "associated": [
            {"name": image.name, "width": image.size.width, "height": image.size.height} for image in info.associated
        ],
        "icc": info.icc_profile is not None,
        "kind": "image" if info.channels else "vector",
        "dtype": info.dtype,
        "channels": [_channel(channel) for channel in info.channels],
        "focal_planes": info.focal_planes,
        "time_points": info.time_points,
        "vendor": info.vendor,
        "properties": {
            key[:PROPERTY_LENGTH]: value[:PROPERTY_LENGTH]
            for key, value in sorted(info.properties.items())[:PROPERTY_COUNT]
        },
    }
    return {name: value for name, value in facts.items() if value is not None}


def _channel(channel: Channel) -> dict[str, str]:
    color = {} if channel.color is None else {"color": f"{channel.color:06x}"}
    return {"name": channel.name, **color}


def _is_positive(value: float | None) -> bool:
    return value is not None and math.isfinite(value) and value > 0


def _json(value: object) -> str:
    """JSON that may stand in a script element: no character of it can end the element or begin a comment."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _base(config: Mapping[str, Any], relative: str) -> str:
    return str(config.get("base", "")).rstrip("/") or relative


def _preloads(base: str, entry: str) -> str:
    """Links that fetch all modules at once instead of one import after the other."""
    folders = _FOLDERS.get(entry, (entry.removesuffix(".js"),))
    wanted = (f"/static/js/{entry}", "/static/js/shared/", *(f"/static/js/{folder}/" for folder in folders))
    return "\n".join(
        f'<link rel="modulepreload" href="{html.escape(base + path)}">'
        for path in sorted(static_files())
        if path.startswith(wanted)
    )


@cache
def _template(name: str) -> Template:
    return Template((files("microtome.viewer") / "templates" / name).read_text("utf-8"))


def _walk(folder: Traversable, path: str) -> Iterator[tuple[str, Traversable]]:
    for entry in folder.iterdir():
        name = f"{path}/{entry.name}"
        if entry.is_dir():
            yield from _walk(entry, name)
        else:
            yield name, entry
