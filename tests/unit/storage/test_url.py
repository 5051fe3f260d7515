"""From URLs to stores, and the keys for S3 in shared files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from microtome.errors import InvalidRequest
from microtome.storage.blocks import BlockCache
from microtome.storage.counting import Counting
from microtome.storage.credentials import Profile, shared_profile
from microtome.storage.url import StoreOptions, open_store
from microtome.telemetry import Counters
from tests.e2e.origin import Origin


@pytest.fixture
def slides(tmp_path: Path) -> Path:
    folder = tmp_path / "my slides"
    folder.mkdir()
    (folder / "a.svs").write_bytes(b"0123456789")
    return folder


async def test_paths_and_file_urls(slides: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(slides.parent)
    quoted = str(slides).replace(" ", "%20")
    for url in (
        str(slides),
        "my slides",
        f"file://{quoted}",
        f"file://localhost{quoted}",
        f"FILE://{quoted}",
        f"{slides}/a.svs",
    ):
        counters = Counters()
        store = open_store(url, StoreOptions(counters=counters))
        assert isinstance(store, Counting)
        assert (await store.get_range("a.svs", 2, 5)).data == b"234"
        assert counters.get("storage.requests") == 1


async def test_links_are_followed_only_when_asked(slides: Path, tmp_path: Path) -> None:
    (tmp_path / "b.svs").write_bytes(b"linked")
    (slides / "b.svs").symlink_to(tmp_path / "b.svs")
    store = open_store(str(slides), StoreOptions(follow_symlinks=True))
    assert (await store.get_range("b.svs", 0, 6)).data == b"linked"
    with pytest.raises(Exception, match="not found"):
        await open_store(str(slides)).get_range("b.svs", 0, 6)


async def test_web_server_through_all_wrappers() -> None:
    async with Origin({"my slides/a.svs": b"0123456789" * 100_000}) as origin:
        counters = Counters()
        store = open_store(f"{origin.url}/my%20slides/", StoreOptions(counters=counters, block_size=1000))
        assert isinstance(store, BlockCache)
        info = await store.head("a.svs")
        for start in (5, 900, 500):
            result = await store.get_range("a.svs", start, start + 3, etag=info.etag)
            assert result.data == (b"0123456789" * 100)[start : start + 3]
        assert origin.asked == ["HEAD", "GET bytes=0-999"]
        assert (counters.get("storage.requests"), counters.get("storage.bytes")) == (2, 1000)
        await store.close()


async def test_memory() -> None:
    assert [page async for page in open_store("memory://").list()] == []


@pytest.mark.parametrize(
    "url", ["s3://bucket", "s3a://bucket/a/b/", "gs://bucket/x", "az://box/x", "abfs://box@lab.dfs.core.windows.net/x"]
)
def test_remote_places_open_without_a_request(url: str) -> None:
    options = StoreOptions(environ={}, home=Path("/nowhere"), anonymous=True, s3_anonymous=True, azure_account="lab")
    assert isinstance(open_store(url, options), BlockCache)


@pytest.mark.parametrize(
    "url",
    ["", "no-such-folder", "\0", "s3://", "s3:///prefix", "s3://bucket/../x", "s3://bucket/a//x", "s3://bucket/%2e%2e",
     "ftp://host/x", "://", "http://", "https:///", "http://host/a?signature=1", "http://host/a#b",
     "file://other-host/x", "file://x", "gs://", "az://"],
)  # fmt: skip
def test_what_cannot_be_a_place(url: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        open_store(url, StoreOptions(environ={}, home=Path("/nowhere")))
    assert caught.value.parameter == "url"


def test_help_names_what_is_possible() -> None:
    with pytest.raises(InvalidRequest, match="s3://bucket/prefix"):
        open_store("my-bucket")


# Keys out of shared files


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws/credentials").write_text(
        "[default]\naws_access_key_id = ID\naws_secret_access_key = se%cret\n"
        "[lab]\naws_access_key_id=LAB\naws_secret_access_key=x=y\naws_session_token=tok\n"
    )
    (tmp_path / ".aws/config").write_text(
        "[default]\nregion = eu-west-1\n[profile lab]\nendpoint_url = https://s3.lab\n"
    )
    return tmp_path


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, Profile(("ID", "se%cret", None), "eu-west-1", None)),
        ({"AWS_PROFILE": "lab"}, Profile(("LAB", "x=y", "tok"), None, "https://s3.lab")),
        ({"AWS_ACCESS_KEY_ID": "ENV"}, Profile(None, "eu-west-1", None)),
        ({"AWS_REGION": "mars"}, Profile(("ID", "se%cret", None), None, None)),
        ({"AWS_ENDPOINT_URL": "http://e"}, Profile(("ID", "se%cret", None), "eu-west-1", "http://e")),
        (
            {"AWS_ENDPOINT_URL": "http://e", "AWS_ENDPOINT_URL_S3": "http://s"},
            Profile(("ID", "se%cret", None), "eu-west-1", "http://s"),
        ),
        ({"AWS_SHARED_CREDENTIALS_FILE": "/nowhere"}, Profile(None, "eu-west-1", None)),
    ],
)  # fmt: skip
def test_profiles(home: Path, environ: Mapping[str, str], expected: Profile) -> None:
    assert shared_profile(environ, home) == expected


def test_no_files_at_all(tmp_path: Path) -> None:
    assert shared_profile({}, tmp_path) == Profile()


def test_profile_that_does_not_exist(home: Path) -> None:
    with pytest.raises(InvalidRequest):
        shared_profile({"AWS_PROFILE": "nobody"}, home)


def test_malformed_file_is_not_quoted(home: Path) -> None:
    (home / ".aws/credentials").write_text("[default\naws_secret_access_key = precious\n")
    with pytest.raises(InvalidRequest) as caught:
        shared_profile({}, home)
    assert "precious" not in repr(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_secrets_are_not_printed(home: Path) -> None:
    assert "se%cret" not in repr(shared_profile({}, home))
