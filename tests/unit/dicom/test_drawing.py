"""Folders of drawn annotations do not outlive for long a process that was killed."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from microtome.dicom.overlays.drawing import draw
from microtome.model import Size
from microtome.storage.temporary import LEFT_SECONDS


def test_what_a_killed_process_left_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    left = tmp_path / "microtome-annotations-left"
    left.mkdir()
    (left / "group-0").write_bytes(b"x")
    before = time.time() - 2 * LEFT_SECONDS
    os.utime(left, (before, before))
    nothing: Any = None
    drawing = asyncio.run(draw(nothing, (), nothing, nothing, Size(10, 10)))
    (own,) = tmp_path.iterdir()
    assert own != left
    drawing.close()
    assert not own.exists()
