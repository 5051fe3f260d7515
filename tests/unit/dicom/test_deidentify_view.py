"""The index without identities in SQLite."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.dicom.viewexam import ViewExam


class TestSqliteView(ViewExam):
    @pytest.fixture
    def place(self, tmp_path: Path) -> str:
        return str(tmp_path / "index.sqlite")
