"""Every variable that WSI-Service reads from its environment, through a running server: it does what its name says."""

from __future__ import annotations

import io
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from microtome.app.v3 import open_policy
from microtome.demo.svs import write_demo
from microtome.errors import InvalidRequest
from microtome.settings import Settings, load
from tests import tiffmaker
from tests.serving import Answer, Client, served

OPEN = {"WS_API_V3_INTEGRATION": "wsi_service.api.v3.integrations.disable_auth:DisableAuth"}
PATHS = {"WS_LOCAL_MODE": "wsi_service.paths_mapper:PathsMapper", **OPEN}
DEMO = "case/demo.svs"
TILE = f"/v3/slides/tile/level/0/tile/0/0?slide_id={DEMO}"
INFO = f"/v3/slides/info?slide_id={DEMO}"
ORIGIN, STRANGER = {"Origin": "https://viewer.example"}, {"Origin": "https://stranger.example"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("settings")
    (folder / "case").mkdir()
    write_demo(folder / DEMO, width=700, height=500)
    for name in ("one", "two", "three"):
        (folder / "case" / f"{name}.tif").write_bytes(tiffmaker.classic())
    return folder


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No ``.env`` and no configuration file of whoever runs the tests."""
    monkeypatch.chdir(tmp_path)


def settings(**environ: str) -> Settings:
    return load(environ=environ).settings


@contextmanager
def server(folder: Path, **environ: str) -> Iterator[Client]:
    """A server with nothing but this in its environment."""
    loaded = load(environ={"WS_DATA_DIR": str(folder), **environ})
    assert not loaded.warnings
    said = {name for name, origin in loaded.origins.items() if origin != "default"}
    options = {name: getattr(loaded.settings, name) for name in said - {"data", "port"}}
    with served(loaded.settings.data or "", **options) as client:
        yield client


def picture(answer: Answer) -> Image.Image:
    assert answer.status == 200, answer.body[:300]
    return Image.open(io.BytesIO(answer.body))


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


# -- what the documentation says ---------------------------------------------------------------------------------------


def test_title_description_and_version(folder: Path) -> None:
    said = {"WS_TITLE": "Our slides", "WS_DESCRIPTION": "All of them", "WS_VERSION": "7.8.9"}
    with server(folder, **said) as client:
        for path in ("/openapi.json", "/v3/openapi.json"):
            info = client.get(path).json()["info"]
            assert (info["title"], info["description"], info["version"]) == ("Our slides", "All of them", "7.8.9")
        assert client.get("/alive").json()["version"] == "7.8.9"
        assert b"Our slides" in client.get("/docs").body


@pytest.mark.parametrize(("said", "status"), [("true", 404), ("1", 404), ("false", 200), ("", 200)])
def test_disable_openapi(folder: Path, said: str, status: int) -> None:
    with server(folder, WS_DISABLE_OPENAPI=said) as client:
        for path in ("/docs", "/openapi.json", "/v3/docs", "/v3/openapi.json"):
            assert client.get(path).status == status, path
        assert client.get(INFO).status == 200


def test_openapi_urls_make_a_login_in_the_documentation(folder: Path) -> None:
    urls = {"WS_OPENAPI_TOKEN_URL": "https://idp.example/token", "WS_OPENAPI_AUTH_URL": "https://idp.example/auth"}
    with server(folder, **urls) as client:
        schemes = client.get("/v3/openapi.json").json()["components"]["securitySchemes"]
        flow = schemes["login"]["flows"]["authorizationCode"]
        assert (flow["tokenUrl"], flow["authorizationUrl"]) == tuple(urls.values())
        assert client.get("/v3/docs/oauth2-redirect").status == 200
        assert "https://idp.example" in client.get("/v3/docs").headers["content-security-policy"]
    with server(folder) as client:
        assert "securitySchemes" not in client.get("/v3/openapi.json").json()["components"]
        assert client.get("/v3/docs/oauth2-redirect").status == 404


# -- which routes there are --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("said", "there"), [("false", False), ("true", True)])
def test_enable_viewer_routes(folder: Path, said: str, *, there: bool) -> None:
    with server(folder, WS_ENABLE_VIEWER_ROUTES=said, **PATHS) as client:
        assert (client.get("/validation_viewer").status == 200) is there
        assert (client.get("/slides/case%2Fdemo.svs/viewer").status == 307) is there
        assert client.get(INFO).status == 200


@pytest.mark.parametrize(("said", "there"), [("False", False), ("True", True)])
def test_enable_local_routes(folder: Path, said: str, *, there: bool) -> None:
    with server(folder, WS_ENABLE_LOCAL_ROUTES=said, **PATHS) as client:
        described = client.get("/v3/openapi.json").json()["paths"]
        for path, target in (("/cases/", "/v3/cases/?context="), ("/cases/slides/", "/v3/cases/slides/?slide_id=case"),
                             ("/slides", f"/v3/slides?slide_id={DEMO}"), ("/refresh_local_mapper",) * 2,
                             ("/slides/storage", f"/v3/slides/storage?slide_id={DEMO}")):  # fmt: skip
            target = target if target.startswith("/v3") else f"/v3{target}"
            assert client.get(target).status == (200 if there else 404), target
            assert (path in described) is there
        assert client.get(INFO).status == 200


@pytest.mark.parametrize("prefix", ["", "/behind"])
def test_root_path(folder: Path, prefix: str) -> None:
    """Whether the proxy cuts its path off or not."""
    with server(folder, WS_ROOT_PATH="/behind", **PATHS) as client:
        assert client.get(f"{prefix}{INFO}").status == 200
        assert client.get(f"{prefix}/alive").status == 200
        assert client.get(f"{prefix}/v3/slides/case%2Fdemo.svs/info").status == 200
        assert client.get(f"{prefix}/v3/openapi.json").json()["servers"] == [{"url": "/behind/v3"}]
        viewer = client.get(f"{prefix}/slides/case%2Fdemo.svs/viewer")
        assert viewer.headers["location"].startswith("/behind/view/")
        assert b"/behind" in client.get(f"{prefix}/v3/docs").body
        slash = client.get(f"{prefix}/v3/cases?context=")
        assert (slash.status, slash.headers["location"].partition("/behind")[2]) == (307, "/v3/cases/?context=")


# -- who may read answers ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", [INFO, TILE, "/v3/nothing", "/v3/slides/info"])
def test_cors_allow_origins(folder: Path, target: str) -> None:
    name = "access-control-allow-origin"
    with server(folder, WS_CORS_ALLOW_ORIGINS='["https://viewer.example"]', **PATHS) as client:
        for _ in range(3):
            assert client.get(target, ORIGIN).headers[name] == "https://viewer.example"
            assert name not in client.get(target, STRANGER).headers
            assert "origin" in client.get(target, STRANGER).headers["vary"]
        assert client.request("OPTIONS", target, ORIGIN).headers[name] == "https://viewer.example"
    with server(folder, WS_CORS_ALLOW_ORIGINS='["*"]', **PATHS) as client:
        assert client.get(target, ORIGIN).headers[name] == "*"
    with server(folder, WS_CORS_ALLOW_ORIGINS="[]", **PATHS) as client:
        assert name not in client.get(target, ORIGIN).headers


@pytest.mark.parametrize("target", [INFO, TILE, "/v3/nothing"])
def test_cors_allow_credentials(folder: Path, target: str) -> None:
    name = "access-control-allow-credentials"
    named = {"WS_CORS_ALLOW_ORIGINS": '["https://viewer.example"]'}
    with server(folder, WS_CORS_ALLOW_CREDENTIALS="true", **named, **PATHS) as client:
        for _ in range(3):
            assert client.get(target, ORIGIN).headers[name] == "true"
            assert name not in client.get(target, STRANGER).headers
        assert client.request("OPTIONS", target, ORIGIN).headers[name] == "true"
    with server(folder, **named, **PATHS) as client:
        assert name not in client.get(target, ORIGIN).headers
    with server(folder, WS_CORS_ALLOW_CREDENTIALS="true", WS_CORS_ALLOW_ORIGINS='["*"]', **PATHS) as client:
        assert name not in client.get(target, ORIGIN).headers, "no browser takes both"


# -- data and catalogue ------------------------------------------------------------------------------------------------


def test_data_dir_and_local_mode(folder: Path) -> None:
    hashed = uuid.uuid5(uuid.NAMESPACE_URL, "casedemo.svs").hex
    with server(folder, WS_LOCAL_MODE="wsi_service.simple_mapper:SimpleMapper", **OPEN) as client:
        assert client.get(f"/v3/slides/info?slide_id={hashed}").status == 200
        assert client.get(INFO).status == 404
    with server(folder / "case", **PATHS) as client:
        assert client.get("/v3/slides/info?slide_id=demo.svs").status == 200


def test_names_may_be_in_any_case_and_in_a_file(folder: Path, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(f"ws_data_dir={folder}\nWS_MAX_THUMBNAIL_SIZE=77\nCOMPOSE_RESTART=no\n")
    assert settings().v3_thumbnail_side == 77
    assert settings().data == str(folder)
    assert settings(ws_max_thumbnail_size="78").v3_thumbnail_side == 78


def test_mapper_address(folder: Path) -> None:
    with server(folder, **PATHS) as mapper:
        address = f"http://127.0.0.1:{mapper.port}/v3/slides/storage?slide_id={{slide_id}}"
        with server(folder, WS_MAPPER_ADDRESS=address, **OPEN) as client:
            assert client.get(INFO).json() == mapper.get(INFO).json()
            missing = client.get("/v3/slides/info?slide_id=case/none.svs")
            assert missing.status == 404
            assert missing.json() == {"detail": "Could not find a storage address for slide id case/none.svs."}
    with server(folder, WS_MAPPER_ADDRESS=address, **OPEN) as client:
        answer = client.get(INFO)
        assert answer.status in {502, 503}
        assert str(folder) not in answer.body.decode()
    with server(folder, WS_MAPPER_ADDRESS="http://127.0.0.1:1/{slide_id}", **PATHS) as client:
        assert client.get(INFO).status == 200, "a local mapper counts more"


def test_variables_of_the_csv_mapper(folder: Path, tmp_path: Path) -> None:
    table = tmp_path / "slides.csv"
    table.write_text("case/demo.svs;c1;s1;g2;g1\ncase/one.tif;c1;s2;g2;g1\n")
    columns = {"CSWS_GROUP_1": "4", "CSWS_GROUP_2": "3", "CSWS_SLIDE_ID": "2", "CSWS_CASE_ID": "1", "CSWS_PATH": "0"}
    with server(
        folder, WS_LOCAL_MODE="wsi_service.csv_mapper:CSVMapper", CSWS_SOURCE=str(table), CSWS_SEPARATOR=";",
        **columns, **OPEN,
    ) as client:  # fmt: skip
        assert client.get("/v3/cases/").json() == [
            {"id": "g1.g2.c.c1", "local_id": "g1.g2.c.c1", "slides": ["g1.g2.w.s1", "g1.g2.w.s2"]}
        ]
        assert client.get("/v3/slides/info?slide_id=g1.g2.w.s1").json()["extent"]["x"] == 700


def test_variables_of_the_iterator_mapper(folder: Path) -> None:
    patterns = {"WSIT_INSTITUTION_PATTERN": r"(ca)se", "WSIT_PROJECT_PATTERN": r"ca(se)"}
    mode = "wsi_service.mapper_iterator.iterator:IteratorMapper"
    with server(folder, WS_LOCAL_MODE=mode, **patterns, **OPEN) as client:
        slides = [each for case in client.get("/v3/cases/").json() for each in case["slides"]]
        assert len(slides) == 4
        assert all(each.startswith("ca.se.w.") for each in slides)
        assert all(client.get(f"/v3/slides/info?slide_id={each}").status == 200 for each in slides)


# -- limits and pixels -------------------------------------------------------------------------------------------------


def test_max_returned_region_size(folder: Path) -> None:
    target = f"/v3/slides/region/level/0/start/0/0/size/{{}}/{{}}?slide_id={DEMO}"
    with server(folder, WS_MAX_RETURNED_REGION_SIZE="200", **PATHS) as client:
        assert picture(client.get(target.format(20, 10))).size == (20, 10)
        answer = client.get(target.format(67, 3))
        assert (answer.status, answer.json()) == (
            422, {"detail": "Requested region may not contain more than 200 pixels."}
        )  # fmt: skip
    with server(folder, WS_MAX_RETURNED_REGION_SIZE="30000000", **PATHS) as client:
        assert picture(client.get(target.format(5200, 5000))).size == (5200, 5000), "more than the default"


def test_max_thumbnail_size(folder: Path) -> None:
    target = f"thumbnail/max_size/{{}}/{{}}?slide_id={DEMO}"
    for said, largest in ({"WS_MAX_THUMBNAIL_SIZE": "100"}, 100), ({}, 500), ({"WS_MAX_THUMBNAIL_SIZE": "600"}, 600):
        with server(folder, **said, **PATHS) as client:
            for base in ("slides", "files"):
                assert max(picture(client.get(f"/v3/{base}/{target.format(largest, largest)}")).size) == largest
                for sides in ((largest + 1, 1), (1, largest + 1)):
                    answer = client.get(f"/v3/{base}/{target.format(*sides)}")
                    assert answer.status == 422
                    assert answer.json()["detail"][0]["ctx"] == {"le": largest}


def test_padding_color_and_apply_padding(folder: Path) -> None:
    edge = f"/v3/slides/tile/level/0/tile/2/1?slide_id={DEMO}&image_format=png"
    beside = f"/v3/slides/region/level/0/start/-5/-5/size/4/4?slide_id={DEMO}&image_format=png"
    with server(folder, WS_PADDING_COLOR="[10, 20, 30]", WS_GET_TILE_APPLY_PADDING="True", **PATHS) as client:
        tile = picture(client.get(edge))
        assert tile.size == (256, 256)
        assert tile.getpixel((255, 255)) == (10, 20, 30)
        assert np.asarray(picture(client.get(beside))).reshape(-1, 3).tolist() == [[10, 20, 30]] * 16
        assert picture(client.get(edge.replace("tile/2/1", "tile/9/9"))).getpixel((0, 0)) == (10, 20, 30)
    with server(folder, **PATHS) as client:
        assert picture(client.get(edge)).size == (700 - 512, 500 - 256)
        assert client.get(edge.replace("tile/2/1", "tile/9/9")).status == 404
        assert picture(client.get(beside)).getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize(("name", "priority", "plugin"), [("", "", "tifffile"), ("TIFF", "20000", "tiff"),
                                                         ("TIFFFILE", "-1", "tiff")])  # fmt: skip
def test_plugin_priorities(tmp_path: Path, name: str, priority: str, plugin: str) -> None:
    """Two plugins read such a file."""
    data = np.zeros((64, 64, 3), np.uint8)
    tifffile.imwrite(tmp_path / "a.ome.tif", data, ome=True, tile=(64, 64), photometric="rgb")
    with server(tmp_path, **({f"WS_PLUGIN_PRIORITY_{name}": priority} if name else {}), **PATHS) as client:
        assert client.get("/v3/slides/info?slide_id=a.ome.tif").json()["format"].endswith(plugin)
        listed = {each["name"]: each["priority"] for each in client.get("/alive").json()["plugins"]}
        assert not name or listed[name.lower()] == int(priority), "one that is switched off is told of all the same"
        chosen = client.get("/v3/slides/info?slide_id=a.ome.tif&plugin=tifffile").json()["format"]
        assert chosen.endswith("tifffile"), "by name it reads nevertheless"


# -- open slides -------------------------------------------------------------------------------------------------------


def test_image_handle_cache_size(folder: Path) -> None:
    with server(folder, WS_IMAGE_HANDLE_CACHE_SIZE="2", **PATHS) as client:
        for key in (DEMO, "case/one.tif", "case/two.tif", "case/three.tif", DEMO):
            assert client.get(f"/v3/slides/info?slide_id={key}").status == 200
            assert len(client.services.tiles.pool) <= 2
        assert client.services.counters.snapshot()["slides.opened"] == 5


def test_inactive_histo_image_timeout(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("microtome.app.application._HOUSEKEEPING_SECONDS", 0.01)
    with server(folder, WS_INACTIVE_HISTO_IMAGE_TIMEOUT_SECONDS="0", **PATHS) as client:
        for _ in range(3):
            assert client.get(INFO).status == 200
            until(lambda: len(client.services.tiles.pool) == 0)
        assert client.services.counters.snapshot()["slides.opened"] >= 3
    rounds: list[int] = []
    with server(folder, WS_INACTIVE_HISTO_IMAGE_TIMEOUT_SECONDS="600", **PATHS) as client:
        pool = client.services.tiles.pool
        looked = pool.close_idle
        monkeypatch.setattr(pool, "close_idle", lambda: (looked(), rounds.append(len(pool))))
        assert client.get(INFO).status == 200
        seen = len(rounds)
        until(lambda: len(rounds) > seen + 3)
        assert rounds[-1] == 1


# -- logins ------------------------------------------------------------------------------------------------------------


def test_api_v3_integration(folder: Path) -> None:
    with server(folder, WS_LOCAL_MODE="wsi_service.simple_mapper:SimpleMapper") as client:
        assert client.get("/v3/cases/").json() == {"detail": "Integration not configured"}
        assert client.get("/v3/cases/").status == 401
    with server(folder, **PATHS) as client:
        assert client.get(INFO).status == 200


@pytest.mark.parametrize("name", ["empaia:EmpaiaApiIntegration", "lsaai_groups:LSAAIIntegration",
                                  "lsaai_resources:LSAAIIntegration"])  # fmt: skip
@pytest.mark.parametrize("missing", ["WS_IDP_URL", "WS_AUDIENCE"])
def test_a_login_needs_a_provider_and_an_audience(name: str, missing: str) -> None:
    given = {"WS_IDP_URL": "https://idp.example", "WS_AUDIENCE": "slides",
             "WS_API_V3_INTEGRATION": f"wsi_service.api.v3.integrations.{name}"}  # fmt: skip
    with pytest.raises(InvalidRequest, match=missing):
        open_policy(settings(**{key: value for key, value in given.items() if key != missing}))


def test_debug_logs_more() -> None:
    assert settings(WS_DEBUG="true").verbose
    assert not settings().verbose


def test_what_the_original_reads_and_does_not_use_does_no_harm(folder: Path) -> None:
    unused = {"WS_CLIENT_ID": "a", "WS_CLIENT_SECRET": "b", "WS_ORGANIZATION_ID": "c", "WS_HTTP_CLIENT_TIMEOUT": "300",
              "WS_CONNECTION_CHUNK_SIZE": "1024000", "WS_CONNECTION_LIMIT_PER_HOST": "100"}  # fmt: skip
    with server(folder, **unused, **PATHS) as client:
        assert client.get(INFO).status == 200


def test_unknown_names_are_told() -> None:
    (warning,) = load(environ={"WS_MAX_THUMBNAIL_SIZ": "1"}).warnings
    assert "WS_MAX_THUMBNAIL_SIZ" in warning
    assert "did you mean WS_MAX_THUMBNAIL_SIZE?" in warning
