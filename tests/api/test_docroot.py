"""The operator's own pages: files of one folder, and nothing else of the machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from microtome.errors import InvalidRequest
from tests.serving import served


@pytest.fixture
def pages(tmp_path: Path) -> Path:
    root = tmp_path / "pages"
    (root / "deeper").mkdir(parents=True)
    (root / "hello.html").write_text("<h1>Hello</h1>")
    (root / "data.bin").write_bytes(bytes(range(256)))
    (root / "with space.txt").write_text("space")
    (root / "deeper" / "index.html").write_text("<h1>Deeper</h1>")
    (root / ".hidden").write_text("secret")
    (tmp_path / "secret.txt").write_text("secret")
    (root / "out.txt").symlink_to(tmp_path / "secret.txt")
    (root / "slides").write_text("not the list of slides")
    return root


def test_files_with_ranges_and_etags(pages: Path, tmp_path: Path) -> None:
    with served(tmp_path, docroot=pages) as client:
        page = client.get("/hello.html?x=1")
        assert (page.status, page.body) == (200, b"<h1>Hello</h1>")
        assert page.headers["content-type"].startswith("text/html")
        known = client.get("/hello.html", headers={"if-none-match": page.headers["etag"]})
        assert known.status == 304
        part = client.get("/data.bin", headers={"range": "bytes=10-19"})
        assert (part.status, part.body) == (206, bytes(range(10, 20)))
        assert client.request("HEAD", "/data.bin").headers["content-length"] == "256"
        assert client.get("/with%20space.txt").body == b"space"
        folder = client.get("/deeper")
        assert folder.headers["location"] == "/deeper/"
        assert client.get("/deeper/").body == b"<h1>Deeper</h1>"
        assert client.request("POST", "/hello.html").status == 405


def test_what_is_ours_comes_first(pages: Path, tmp_path: Path) -> None:
    with served(tmp_path, docroot=pages) as client:
        assert client.get("/slides").json()["slides"] == []
        assert b"microtome" in client.get("/").body
        assert client.get("/health").status == 200


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.txt", "/..%2fsecret.txt", "/%2e%2e/secret.txt", "//etc/hostname", "/deeper/../../secret.txt",
        "/.hidden", "/out.txt", "/..%5csecret.txt", "/hello.html%00.png", "/nothing", "/deeper/nothing.html",
    ],
)  # fmt: skip
def test_nothing_else_of_the_machine(pages: Path, tmp_path: Path, path: str) -> None:
    with served(tmp_path, docroot=pages) as client:
        answer = client.get(path)
        assert answer.status == 404
        assert b"secret" not in answer.body


def test_a_folder_that_is_not_there_is_told_at_the_start(tmp_path: Path) -> None:
    from microtome.app import create_app
    from microtome.settings import Settings

    with pytest.raises(InvalidRequest):
        create_app(Settings(data=str(tmp_path), docroot=tmp_path / "nowhere"))
