"""The scene as a whole."""

from __future__ import annotations

import os
from importlib.metadata import version
from pathlib import Path

from microtome.scene.calls.state import GetState, State, Stop
from microtome.scene.gl import find_renderer
from microtome.scene.mrml.application import Application


def get_state(application: Application, _: GetState) -> State:
    """How the scene is."""
    journal = application.journal
    return State(
        revision=application.revision,
        nodes=application.scene.GetNumberOfNodes(),
        scene=journal.scene_id,
        started=application.started,
        restored=application.restored,
        lost=application.options.lost,
        saved=application.saved,
        undo=len(journal.changes),
        redo=len(journal.undone),
        memory=_resident(),
        application=f"slicer-core {version('slicer-core')}",
        renderer=_renderer(application),
    )


def _renderer(application: Application) -> str:
    """What draws 3D, once it has drawn: to find out takes a process of its own."""
    found = find_renderer() if application.windows else None
    return "" if found is None else found.name


def stop(application: Application, _: Stop) -> None:
    """End the process."""
    application.stop()


def _resident() -> int:
    """Bytes, 0 where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
