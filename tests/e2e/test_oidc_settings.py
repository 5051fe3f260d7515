"""The variables of logins, through a running server and a real provider: each does what its name says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from microtome.settings import load
from tests import tiffmaker
from tests.e2e.oidcserver import NoProvider, OidcServer, install, new_keys
from tests.serving import Client, served

OURS, OTHERS = "https://slides.example/", "https://others.example/"
USER, GUEST = "RS256", "ES256"
ENTITLEMENTS = {USER: ["urn:special:team:inst:proj:inst#here", "urn:x:group:any:inst", "urn:x:res:inst:proj"]}
SLIDE = "/v3/slides/info?slide_id=inst.proj.w.one"
PREFIX = "wsi_service.api.v3.integrations."


@pytest.fixture(scope="module")
def provider() -> Iterator[OidcServer]:
    try:
        install()
    except NoProvider as reason:
        pytest.skip(str(reason))
    with OidcServer([OURS, OTHERS], ENTITLEMENTS) as running:
        running.start(new_keys(USER, GUEST))
        yield running


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "slides"
    folder.mkdir()
    (folder / "one.tif").write_bytes(tiffmaker.classic())
    (tmp_path / "data.csv").write_text("inst\tproj\tone\tc\tone.tif\n")
    return folder


@contextmanager
def server(folder: Path, provider: OidcServer, integration: str, **environ: str) -> Iterator[Client]:
    loaded = load(environ={
        "WS_DATA_DIR": str(folder), "WS_LOCAL_MODE": "wsi_service.csv_mapper:CSVMapper",
        "CSWS_SOURCE": str(folder.parent / "data.csv"), "WS_API_V3_INTEGRATION": PREFIX + integration,
        "WS_IDP_URL": provider.url, "WS_AUDIENCE": OURS, **environ,
    })  # fmt: skip
    assert not loaded.warnings
    said = {name for name, origin in loaded.origins.items() if origin != "default"}
    options = {name: getattr(loaded.settings, name) for name in said - {"data", "port"}}
    with served(folder, **options) as client:
        yield client


def status(client: Client, token: str, target: str = SLIDE) -> int:
    return client.get(target, {"Authorization": f"Bearer {token}"}).status


EMPAIA = "empaia:EmpaiaApiIntegration"
GROUPS = "lsaai_groups:LSAAIIntegration"
RESOURCES = "lsaai_resources:LSAAIIntegration"


def test_audience(provider: OidcServer, folder: Path) -> None:
    with server(folder, provider, EMPAIA, WS_AUDIENCE=OTHERS) as client:
        assert status(client, provider.token(USER, OTHERS)) == 200
        assert status(client, provider.token(USER, OURS)) == 401


@pytest.mark.parametrize(("asked", "expected"), [("silver", 200), ("gold", 401), ("", 200)])
def test_check_acr_values(provider: OidcServer, folder: Path, asked: str, expected: int) -> None:
    with server(folder, provider, EMPAIA, WS_CHECK_ACR_VALUES=asked) as client:
        assert status(client, provider.token(USER, OURS)) == expected


def test_rewrite_url_in_wellknown(provider: OidcServer, folder: Path) -> None:
    inside = provider.url.replace("127.0.0.1", "localhost")
    with server(folder, provider, EMPAIA, WS_IDP_URL=inside, WS_REWRITE_URL_IN_WELLKNOWN=provider.url) as client:
        assert status(client, provider.token(USER, OURS)) == 200


def test_regex_prefix_of_groups(provider: OidcServer, folder: Path) -> None:
    endpoint = {"WS_USER_INFO_ENDPOINT": f"{provider.url}/entitlements"}
    token = provider.token(USER, OURS)
    with server(folder, provider, GROUPS, WS_LSAAI_REGEX_PREFIX="urn:special:team:inst", **endpoint) as client:
        assert status(client, token) == 200
        assert status(client, provider.token(GUEST, OURS)) == 404
    with server(folder, provider, GROUPS, **endpoint) as client:
        assert status(client, token) == 404


def test_resources(provider: OidcServer, folder: Path) -> None:
    with server(folder, provider, RESOURCES, WS_USER_INFO_ENDPOINT=f"{provider.url}/entitlements") as client:
        assert status(client, provider.token(USER, OURS)) == 200
        assert status(client, provider.token(GUEST, OURS)) == 404


@pytest.mark.parametrize("endpoint", ["/nowhere", "/entitlements"])
def test_user_info_endpoint_and_user_cache(provider: OidcServer, folder: Path, endpoint: str) -> None:
    said = {"WS_USER_INFO_ENDPOINT": provider.url + endpoint, "WS_USER_CACHE_TIMEOUT": "1", "WS_USER_CACHE_SIZE": "1",
            "WS_REFRESH_INTERVAL": "1", "WS_REQUEST_TIMEOUT": "5"}  # fmt: skip
    with server(folder, provider, RESOURCES, **said) as client:
        answer = client.get(SLIDE, {"Authorization": f"Bearer {provider.token(USER, OURS)}"})
        if endpoint == "/entitlements":
            assert answer.status == 200
        else:
            assert (answer.status, answer.json()) == (
                401, {"detail": "Token or user info endpoint data is invalid!"}
            )  # fmt: skip
            assert answer.headers["www-authenticate"].startswith("Bearer")


def test_a_provider_that_cannot_be_reached(provider: OidcServer, folder: Path) -> None:
    token = provider.token(USER, OURS)
    with server(folder, provider, EMPAIA, WS_IDP_URL="http://127.0.0.1:1") as client:
        answer = client.get(SLIDE, {"Authorization": f"Bearer {token}"})
        assert (answer.status, answer.json()) == (401, {"detail": "Auth not initialized on server."})
