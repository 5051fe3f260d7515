"""Fixtures every test may use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.register_assert_rewrite("microtome.testing.stores", "microtome.testing.tilecaches")

ROOT = Path(__file__).resolve().parent.parent


def testdata_folder() -> Path | None:
    """The folder of real files, or None when this machine has none."""
    configured = os.environ.get("MICROTOME_TESTDATA")
    folder = Path(configured) if configured else ROOT.parent / "shared" / "data"
    return folder if folder.is_dir() else None


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where servers keep their indexes unless told otherwise, in this process and those it starts: not at home."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield folder


@pytest.fixture(scope="session")
def testdata() -> Path:
    """Real slides and images; tests that need them are skipped where there are none."""
    folder = testdata_folder()
    if folder is None:
        pytest.skip("no real files: set MICROTOME_TESTDATA to the folder that holds them")
    return folder
