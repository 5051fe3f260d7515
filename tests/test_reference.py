"""The reference is complete and current: its pages are what the code says."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

from microtome import errors as vocabulary
from microtome.api import errors
from microtome.auth import signed
from microtome.errors import MicrotomeError
from scripts import generate_reference as reference

# The first has no error class and stands in the introduction; the second is never sent, its reason is in its place.
UNEXPLAINED = {"internal_error", "unauthenticated"}
ROOT = Path(__file__).resolve().parent.parent
OTHER_MACHINE = """
import os, sys
os.cpu_count = lambda: 61
sys.path.insert(0, sys.argv[1])
from scripts import generate_reference as reference
sys.exit(any(reference.updated(name) != (reference.FOLDER / name).read_text("utf-8") for name in reference.PAGES))
"""


@pytest.mark.parametrize("name", reference.PAGES)
def test_page_is_current(name: str) -> None:
    committed = (reference.FOLDER / name).read_text("utf-8")
    assert committed == reference.updated(name), "run: python scripts/generate_reference.py"


@pytest.mark.parametrize("name", reference.PAGES)
def test_page_keeps_what_was_written_by_hand(name: str) -> None:
    beginning, mark, generated = (reference.FOLDER / name).read_text("utf-8").partition(reference.MARK)
    assert beginning.startswith("# ")
    assert mark
    assert generated.strip()


def test_every_code_of_the_error_table_is_explained() -> None:
    page = (reference.FOLDER / "errors.md").read_text("utf-8")
    table = re.findall(r"\bWire\((\d+), \"(\w+)\"", inspect.getsource(errors))
    reasons = {
        code
        for line in re.findall(r"\breason ?= ?(.+)", inspect.getsource(signed))
        for code in re.findall(r"\"(\w+_\w+)\"", line)
    }
    assert len(table) > 10
    assert len(reasons) > 5
    for status, code in table:
        assert code in UNEXPLAINED or f"| {status} `{code}`" in page, f"say in CASES what {status} {code} means"
    for code in reasons:
        assert f" `{code}` |" in page, f"say in CASES what {code} means"


def test_every_error_class_is_explained() -> None:
    page = (reference.FOLDER / "errors.md").read_text("utf-8")
    classes = {
        name
        for name, kind in inspect.getmembers(vocabulary, inspect.isclass)
        if issubclass(kind, MicrotomeError) and kind is not MicrotomeError
    }
    assert len(classes) > 10
    assert classes <= set(re.findall(r"^## (\w+)$", page, re.MULTILINE))


def test_pages_are_the_same_on_every_machine() -> None:
    done = subprocess.run([sys.executable, "-c", OTHER_MACHINE, ROOT], check=False, env={"COLUMNS": "40"})
    assert done.returncode == 0, "a page tells something of the machine; see COMPUTED"
