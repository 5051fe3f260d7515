"""The scene saved by itself, and begun with what was saved."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

from microtome.errors import MicrotomeError
from microtome.scene.answers import Parts, at_once, outside
from microtome.scene.calls.files import LoadFile, SaveScene
from microtome.scene.mrml.application import Application
from microtome.scene.mrml.files.bundle import save_scene
from microtome.scene.mrml.files.load import load_file
from microtome.telemetry import logger


def save(application: Application) -> Parts[None]:
    """Write the bundle unless nothing has changed: a new file in the place of the old one, which stays until then."""
    target = Path(application.options.autosave)
    if application.revision == application.saved_revision:
        return
    revision = application.revision
    file = yield from save_scene(application, SaveScene(path=None, file_name=target.name))
    yield from outside(lambda: _put(Path(file.path), target))
    application.saved, application.saved_revision = time.time(), revision


def _put(made: Path, target: Path) -> None:
    """A copy of a new bundle takes the place of the old one."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = target.with_name(f".{target.name}.new")
        shutil.copyfile(made, beside)
        with beside.open("rb") as file:
            os.fsync(file.fileno())
        beside.replace(target)
    finally:
        shutil.rmtree(made.parent, ignore_errors=True)


def restore(application: Application) -> None:
    """Begin with the bundle that was saved. One that ended the process the last time is put aside."""
    if not application.options.autosave or not (target := Path(application.options.autosave)).is_file():
        return
    trying = target.with_name(f".{target.name}.trying")
    if trying.exists():
        aside = target.with_name(f"{target.name}.refused")  # the next save would take its place
        logger.error("The saved scene was not loaded: the process ended over it before. It is kept as %s", aside.name)
        target.replace(aside)
        trying.unlink()
        application.saved_revision = application.revision
        return
    copy = application.folder / "restored.mrb"
    try:
        trying.touch()
        shutil.copyfile(target, copy)
        at_once(load_file(application, LoadFile(path=str(copy), file_type="SceneFile", properties={"clear": "true"})))
        application.restored = True
    except (MicrotomeError, OSError) as error:
        logger.error("The saved scene could not be loaded: %s", error)
    finally:
        trying.unlink(missing_ok=True)
        copy.unlink(missing_ok=True)
    application.look()
    application.journal.changes.clear()
    application.saved_revision = application.revision
