"""The pages as text: what they must hold, what must never come out of them, and that all they load is there."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any

import pytest

from microtome.model import AssociatedImage, Channel, Level, Size, SlideInfo
from microtome.viewer import pages

HOSTILE = "<script>alert(1)</script>"
INLINE_HANDLER = re.compile(r"^on[a-z]+$")


class Document(HTMLParser):
    """What a browser would see: elements with attributes, and the text of each script and style."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.inline: list[tuple[dict[str, str | None], str]] = []
        self.text = ""
        self._open: dict[str, str | None] | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._open = dict(attrs) if tag in {"script", "style"} else None
        if self._open is not None:
            self.inline.append((self._open, ""))

    def handle_endtag(self, tag: str) -> None:
        self._open = None

    def handle_data(self, data: str) -> None:
        if self._open is not None:
            self.inline[-1] = (self._open, self.inline[-1][1] + data)
        else:
            self.text += data

    @property
    def config(self) -> dict[str, Any]:
        return json.loads(next(text for attributes, text in self.inline if attributes.get("id") == "page-config"))

    def addresses(self) -> list[str]:
        return [
            value
            for tag, attributes in self.elements
            for name, value in attributes.items()
            if value and (name == "src" or (name == "href" and tag in {"link", "use"}))
        ]


def slide_info(**changes: Any) -> SlideInfo:
    facts: dict[str, Any] = {
        "format_name": "Aperio SVS",
        "levels": (
            Level(Size(2048, 1536), Size(256, 240), 1.0),
            Level(Size(512, 384), Size(256, 256), 4.0),
        ),
        "channels": (Channel("R"), Channel("G"), Channel("B")),
        "spacing_um": (0.499, 0.499),
        "magnification": 20.0,
        "associated": (AssociatedImage("label", Size(387, 463)),),
    }
    return SlideInfo(**(facts | changes))


def slide_page(slide_id: str = "test.tif", config: dict[str, Any] | None = None, **changes: Any) -> str:
    return pages.slide_page(slide_id, slide_info(**changes), config={} if config is None else config)


ALL_PAGES = {
    "slide": slide_page(),
    "catalogue": pages.catalogue_page({}),
    "error": pages.error_page(404, "Slide not found", "There is no such slide.", config={}),
}


def test_the_viewer_holds_what_clients_look_for() -> None:
    page = slide_page("folder/sub folder/slide-1_a~b.svs")
    for wanted in (
        "folder/sub folder/slide-1_a~b.svs",
        "2048",
        "1536",
        ">2</span> pyramid levels",
        "Aperio SVS",
        "openseadragon",
        "OpenSeadragon",
        "/tiles/folder%2Fsub%20folder%2Fslide-1_a~b.svs/",
        ".jpg",
        "width: 2048, height: 1536",
        "width: 512, height: 384",
    ):
        assert wanted in page, wanted


@pytest.mark.parametrize("base", ["", "/slides-app", None])
def test_a_hostile_id_appears_only_escaped(base: str | None) -> None:
    hostile = f"{HOSTILE}\"'&--></title>\u2028.svs"
    config: dict[str, Any] = {} if base is None else {"base": base}
    page = slide_page(hostile, config, format_name=HOSTILE, vendor=HOSTILE, properties={HOSTILE: HOSTILE})
    assert HOSTILE not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    document = Document(page)
    assert all("alert" not in text for attributes, text in document.inline if "type" not in attributes)
    assert document.config["slide"]["slide_id"] == hostile
    assert document.config["slide"]["properties"] == {HOSTILE: HOSTILE}
    assert sum(tag == "title" for tag, _ in document.elements) == 1


def test_error_pages_escape_their_message() -> None:
    page = pages.error_page(415, HOSTILE, HOSTILE, config={})
    assert HOSTILE not in page
    assert Document(page).text.count(HOSTILE) == 3  # title, heading, message: as text


def test_the_configuration_cannot_end_its_element() -> None:
    page = pages.catalogue_page({"query": "</script><script>alert(1)</script>", "base": '"><script>alert(1)</script>'})
    document = Document(page)
    assert document.config["query"] == "</script><script>alert(1)</script>"
    assert all("alert" not in text for attributes, text in document.inline if attributes.get("id") != "page-config")


@pytest.mark.parametrize("name", ALL_PAGES)
def test_pages_hold_nothing_the_policy_forbids(name: str) -> None:
    document = Document(ALL_PAGES[name])
    for attributes, text in document.inline:
        assert attributes.get("type") == "application/json" or ("src" in attributes and not text.strip())
    for _, attributes in document.elements:
        assert "style" not in attributes
        assert not any(INLINE_HANDLER.match(key) for key in attributes)


@pytest.mark.parametrize(("name", "depth"), [("slide", "/view/"), ("catalogue", "/"), ("error", "/view/")])
def test_everything_a_page_loads_is_there(name: str, depth: str) -> None:
    files = pages.static_files()
    addresses = Document(ALL_PAGES[name]).addresses()
    assert addresses
    for address in addresses:
        path, _, fragment = address.partition("#")
        resolved = resolve(depth, path)
        assert resolved in files, address
        if fragment:
            assert f'id="{fragment}"'.encode() in files[resolved].body


def resolve(folder: str, path: str) -> str:
    parts = list(PurePosixPath(folder).parts[1:])
    for part in path.split("/"):
        if part == "..":
            parts.pop()
        elif part not in {"", "."}:
            parts.append(part)
    return "/" + "/".join(parts)


def test_modules_import_only_what_is_there_and_pages_preload_all_of_it() -> None:
    files = pages.static_files()
    modules = {path: file.body.decode() for path, file in files.items() if path.startswith("/static/js/")}
    for entry, page in (("viewer.js", "slide"), ("catalogue.js", "catalogue")):
        reached: set[str] = set()
        waiting = [f"/static/js/{entry}"]
        while waiting:
            path = waiting.pop()
            assert path in modules, path
            reached.add(path)
            for imported in re.findall(r'^(?:import|export) [^;]*?from "(\..*?)";', modules[path], re.M):
                found = resolve(str(PurePosixPath(path).parent), imported)
                if found not in reached:
                    waiting.append(found)
        preloaded = {
            resolve("/view/" if page == "slide" else "/", attributes["href"] or "")
            for _, attributes in Document(ALL_PAGES[page]).elements
            if attributes.get("rel") == "modulepreload"
        }
        assert reached <= preloaded


def test_every_icon_that_is_named_is_drawn() -> None:
    files = pages.static_files()
    drawn = set(re.findall(rb'<symbol id="([a-z-]+)"', files["/static/icons.svg"].body))
    source = b"".join(file.body for path, file in files.items() if path.startswith("/static/js/"))
    named = set(re.findall(rb'\bicon\("([a-z-]+)"\)|symbol: "([a-z-]+)"', source))
    assert named
    assert {name for pair in named for name in pair if name} <= drawn


def test_static_files_are_immutable_and_tagged() -> None:
    files = pages.static_files()
    assert isinstance(files, MappingProxyType)
    assert files is pages.static_files()
    assert len({file.etag for file in files.values()}) == len({file.body for file in files.values()})
    body, media_type, etag = files["/static/js/viewer.js"]
    assert body
    assert media_type == "text/javascript; charset=utf-8"
    assert re.fullmatch(r'"[0-9a-f]+"', etag)


def test_the_library_and_its_licence_are_in_the_package() -> None:
    files = pages.static_files()
    assert b"openseadragon" in files["/static/vendor/openseadragon/openseadragon.min.js"].body[:200]
    assert b"Redistribution" in files["/static/vendor/openseadragon/LICENSE.txt"].body


def test_addresses_follow_the_base_path() -> None:
    page = slide_page("a/b.svs", {"base": "/pathology/", "query": "vt=ab&exp=9"})
    document = Document(page)
    assert all(address.startswith("/pathology/static/") for address in document.addresses())
    assert document.config["base"] == "/pathology"
    assert document.config["query"] == "vt=ab&exp=9"
    assert document.config["tiles"] == "/pathology/tiles/a%2Fb.svs/{level}/{x}/{y}.jpg"


def test_the_page_describes_the_slide_like_the_api() -> None:
    slide = Document(slide_page()).config["slide"]
    assert list(slide)[:6] == ["slide_id", "format", "width", "height", "level_count", "levels"]
    assert slide["levels"][0] == {
        "level": 0,
        "width": 2048,
        "height": 1536,
        "tile_width": 256,
        "tile_height": 240,
        "tiles_x": 8,
        "tiles_y": 7,
        "downsample": 1.0,
    }
    assert (slide["mpp_x"], slide["magnification"]) == (0.499, 20.0)
    assert slide["associated"] == [{"name": "label", "width": 387, "height": 463}]


@pytest.mark.parametrize("spacing", [None, (0.0, 0.5), (float("nan"), 0.5), (float("inf"), 0.5), (-1.0, 0.5)])
def test_a_spacing_that_makes_no_sense_is_no_spacing(spacing: tuple[float, float] | None) -> None:
    assert Document(slide_page(spacing_um=spacing, magnification=float("inf"))).config["slide"].get("mpp_x") is None


def test_properties_are_bounded() -> None:
    many = {f"key {number:05}": "x" * 100_000 for number in range(2000)}
    properties = Document(slide_page(properties=many)).config["slide"]["properties"]
    assert len(properties) == pages.PROPERTY_COUNT
    assert max(map(len, properties.values())) == pages.PROPERTY_LENGTH


def test_the_policy_allows_nothing_from_elsewhere() -> None:
    policy = pages.content_security_policy("https://portal.example")
    directives = dict(part.split(" ", 1) for part in policy.split("; "))
    assert directives["default-src"] == "'none'"
    assert directives["script-src"] == directives["style-src"] == directives["connect-src"] == "'self'"
    assert directives["frame-ancestors"] == "https://portal.example"
    assert "unsafe" not in policy
