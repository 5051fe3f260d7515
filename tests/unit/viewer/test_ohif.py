"""Fetching OHIF and moving it below ``/browse/``, without a browser."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from microtome.errors import CorruptData, StorageUnavailable, UnsupportedFormat
from microtome.viewer import ohif

INDEX = '<link href="/app.css"><script>window.PUBLIC_URL="/"</script><script src="/app-config.js"></script>'
FILES = {
    "package/LICENSE": "MIT",
    "package/dist/index.html": INDEX,
    "package/dist/app.bundle.js": "__webpack_require__.p = \"/\"; load('/dicom-microscopy-viewer/x.js')",
    "package/dist/app.bundle.js.map": "{}",
    "package/dist/app.css": "@font-face { src: url(/font.woff2) }",
    "package/dist/app-config.js": "window.config = {routerBasename: '/', dataSources: ['https://elsewhere']}",
    "package/dist/manifest.json": '{"icons": [{"src": "/icon.png"}], "start_url": "/"}',
    "package/dist/sw.js": "work()",
    "package/dist/init-service-worker.js": "importScripts('https://elsewhere')",
    "package/dist/ort/model.wasm": "large",
    "package/dist/a/../b.html": "by a way round",
    "package/src/index.js": "",
}


def packed(path: Path, files: dict[str, str]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))
    return path


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = packed(tmp_path / "app.tgz", FILES)
    monkeypatch.setattr(ohif, "DIGEST", hashlib.sha512(path.read_bytes()).hexdigest())
    return path


def test_what_is_kept_lives_below_browse(archive: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data" / "ohif"
    ohif.install(folder, archive)
    assert ohif.is_installed(folder)
    kept = {path.name for path in folder.rglob("*")}
    assert kept == {"index.html", "app.bundle.js", "app.css", "app-config.js", "manifest.json",
                    "init-service-worker.js", "LICENSE.txt", ohif.MARK}  # fmt: skip
    for name in kept - {ohif.MARK}:
        text = (folder / name).read_text()
        assert "elsewhere" not in text
        assert not any(bad in text for bad in ('="/app', '"/icon', "url(/f", "'/dicom-m", 'p = "/"', 'URL="/"')), name
    assert 'window.PUBLIC_URL="/browse/"' in (folder / "index.html").read_text()
    ohif.install(folder, archive)  # once more in place of the old one
    assert ohif.is_installed(folder)


def test_another_archive_than_the_published_one_is_refused(tmp_path: Path) -> None:
    path = packed(tmp_path / "app.tgz", FILES)
    with pytest.raises(CorruptData, match="SHA-512"):
        ohif.install(tmp_path / "ohif", path)
    assert not (tmp_path / "ohif").exists()


def test_the_only_source_of_data_is_this_server() -> None:
    """CVE-2026-12473: none of the sources takes an address from a link, and none is another host."""
    found: dict[str, Any] = json.loads(json.dumps(ohif.configuration()))
    (source,) = found["dataSources"]
    assert source["namespace"].endswith(".dicomweb")
    assert found["dangerouslyUseDynamicConfig"] == {"enabled": False}
    roots = {name: value for name, value in source["configuration"].items() if name.endswith("Root")}
    assert set(roots.values()) == {"/dicom"}
    assert "//" not in json.dumps(found)


def test_npm_of_this_machine_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    npm = tmp_path / "npm"
    npm.write_text("#!/bin/sh\n")
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert ohif.npm_command(tmp_path) == [str(npm)]


def test_without_npm_and_pip_the_way_out_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", "/bin/false")
    monkeypatch.setattr(ohif.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UnsupportedFormat, match="--archive"):
        ohif.npm_command(tmp_path)


def test_what_npm_cannot_fetch_is_told(tmp_path: Path) -> None:
    with pytest.raises(StorageUnavailable, match="could not fetch"):
        ohif.fetched(tmp_path, ["/bin/false"])
    with pytest.raises(StorageUnavailable, match="cannot be run"):
        ohif.fetched(tmp_path, [str(tmp_path / "missing")])


@pytest.mark.slow
def test_node_comes_from_pypi_where_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """pip fetches it; what it fetched runs npm."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(ohif.importlib.util, "find_spec", lambda _: None)
    try:
        command = ohif.npm_command(tmp_path)
    except UnsupportedFormat:
        pytest.skip("pip cannot fetch Node: no connection to its index")
    assert command[0].startswith(str(tmp_path))
    version = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True, env={**os.environ})
    assert int(version.stdout.partition(".")[0]) >= 10
