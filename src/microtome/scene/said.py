"""What the process of the scene writes on its standard error, as lines of our log.

VTK and the libraries below it write as they please: in colours, with addresses of objects, and with the paths of the
machine that compiled them. None of that helps an operator.
"""

from __future__ import annotations

import logging
import re
from typing import IO

from microtome.telemetry import logger

MOST = 4000
"""Characters of a line that are kept."""
_COLOR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_FOLDERS = re.compile(r"(?<![\w.:/])/(?:[\w.+@-]+/)+")
_STAMP = re.compile(
    r"^(?:[\d-]{10} [\d:.,]+ ?)?\(\s*[\d.]+s\) \[[^\]]*\]\s*(?:[\w.]+:\d+)?\s*(ERR|WARN|INFO|-?\d+)\| ?"
)
_OURS = re.compile(r"^(DEBUG|INFO|WARNING|ERROR|CRITICAL) scene: ")
_ADDRESS = re.compile(r" ?\(?0x[0-9a-fA-F]{6,}\)?")
_EXPECTED = "vtkSlicerColorLogic: FindDefaultColorFiles failed"
"""Said at every start: a desktop has files of colours, a scene has none."""
_WORD = re.compile(r"\b(error|fatal|warning)\b", re.IGNORECASE)


def cleaned(line: str) -> tuple[int, str]:
    """A line as (level, text): without colours, control characters, folders and addresses of objects."""
    text = _CONTROL.sub("", _COLOR.sub("", line))[:MOST].strip()
    level = logging.INFO
    if found := _OURS.match(text):
        level, text = logging.getLevelNamesMapping()[found[1]], text[found.end() :]
    elif found := _STAMP.match(text):
        level = {"ERR": logging.ERROR, "WARN": logging.WARNING}.get(found[1], logging.INFO)
        text = text[found.end() :]
    elif found := _WORD.search(text):
        level = logging.WARNING if found[1].lower() == "warning" else logging.ERROR
    return level, _ADDRESS.sub("", _FOLDERS.sub("", text)).strip()


def pass_on(stream: IO[bytes]) -> None:
    """Log each line until the stream ends. Blocks."""
    while line := stream.readline(MOST):
        level, text = cleaned(line.decode("utf-8", "replace"))
        if text and not text.startswith(_EXPECTED):
            logger.log(level, "scene: %s", text)
