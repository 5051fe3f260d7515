from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

_ALIVE: list[Any] = []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if find_spec("slicer_core") is None:
        for item in items:
            if Path(__file__).parent in item.path.parents:
                item.add_marker(pytest.mark.skip(reason="slicer-core has no wheel for this Python or machine"))


@pytest.fixture
def application(tmp_path: Path) -> Iterator[Any]:
    """A scene in this process, with no more than what is in every scene."""
    os.environ["VTK_DEFAULT_OPENGL_WINDOW"] = "vtkEGLRenderWindow"
    from microtome.scene.keeper import SceneOptions
    from microtome.scene.mrml.application import Application

    made = Application(SceneOptions(socket="", folder=str(tmp_path)))
    yield made
    made.close()
    made.scene.Clear(0)
    # A process has one scene; some of MRML's objects are shared by all of them and do not outlive the first to go.
    _ALIVE.append(made)
