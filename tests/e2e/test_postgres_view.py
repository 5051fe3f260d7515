"""The index without identities in a real PostgreSQL: the same exam as in SQLite."""

from __future__ import annotations

import pytest

from tests.e2e.postgresserver import PostgresServer
from tests.e2e.test_postgres_index import postgres  # noqa: F401 - a fixture
from tests.unit.dicom.viewexam import ViewExam


class TestPostgresView(ViewExam):
    @pytest.fixture
    def place(self, postgres: PostgresServer) -> str:  # noqa: F811
        return postgres.database()
