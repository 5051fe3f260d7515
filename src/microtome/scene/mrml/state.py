"""The scene as a whole."""

from __future__ import annotations

from importlib.metadata import version

from microtome.scene.calls.state import GetState, State, Stop
from microtome.scene.mrml.application import Application


def get_state(application: Application, _: GetState) -> State:
    """How the scene is."""
    return State(
        revision=application.revision,
        nodes=application.scene.GetNumberOfNodes(),
        started=application.started,
        restored=application.restored,
        application=f"slicer-core {version('slicer-core')}",
        renderer="",
    )


def stop(application: Application, _: Stop) -> None:
    """End the process."""
    application.stop()
