"""The slides that the contract of the family ``streamer`` names, served."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import tiffmaker
from tests.serving import Client, served

SECRET = "test-secret-key-for-hmac-signing"


def write_slides(folder: Path) -> Path:
    """The fixtures F1 to F5 under the names that the cases use."""
    files = {
        "test.tif": tiffmaker.classic(),
        "slide2.tif": tiffmaker.classic(jpeg=tiffmaker.gradient_jpeg(70)),
        "my_slide-2024.tif": tiffmaker.classic(),
        "big-endian.tif": tiffmaker.classic(">"),
        "bigtiff.tif": tiffmaker.big(),
        "lzw.tif": tiffmaker.classic(compression=5),
        "strip.tif": tiffmaker.strip(),
        "test.svs": tiffmaker.abbreviated(),
        "folder/sub folder/slide.svs": tiffmaker.abbreviated(),
    }
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


@pytest.fixture(scope="session")
def slides(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the fixtures; not to be written to."""
    return write_slides(tmp_path_factory.mktemp("slides"))


@pytest.fixture
def fresh(slides: Path) -> Iterator[Client]:
    """A server with empty caches."""
    with served(slides) as client:
        yield client


@pytest.fixture(scope="module")
def client(slides: Path) -> Iterator[Client]:
    """A server for tests that do not care what others asked before."""
    with served(slides) as client:
        yield client


@pytest.fixture(scope="module")
def guarded(slides: Path) -> Iterator[Client]:
    """A server that asks for signatures."""
    with served(slides, auth_enabled=True, auth_secret=(SECRET,)) as client:
        yield client
