"""The index in a real PostgreSQL: the same exam as in SQLite."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from microtome.dicom.index.base import Index
from microtome.dicom.index.url import open_index
from microtome.errors import StorageUnavailable
from tests.e2e.postgresserver import NoServer, PostgresServer
from tests.unit.dicom.indexexam import IndexExam, batch
from tests.unit.dicom.instances import file


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    """A server for this module."""
    server = PostgresServer()
    try:
        server.__enter__()
    except NoServer as reason:
        pytest.skip(str(reason))
    try:
        yield server
    finally:
        server.__exit__(None, None, None)


class TestPostgres(IndexExam):
    @pytest.fixture
    async def index(self, postgres: PostgresServer) -> AsyncIterator[Index]:
        opened = await open_index(postgres.database())
        yield opened
        await opened.close()

    async def test_two_processes_share_it(self, postgres: PostgresServer) -> None:
        url = postgres.database()
        one, two = await open_index(url), await open_index(url)
        await one.put(batch({"a": file(1)}))
        assert (await two.totals()).instances == 1
        async with one.walking() as first, two.walking() as second:
            assert (first, second) == (True, False)
        await one.close()
        await two.close()


async def test_a_wrong_password_is_not_told(postgres: PostgresServer) -> None:
    url = postgres.database().replace("tester:", "tester:wrong-", 1)
    with pytest.raises(StorageUnavailable, match="does not let us in") as caught:
        await open_index(url)
    assert caught.value.permanent
    assert "wrong" not in caught.value.message


async def test_a_server_that_is_gone() -> None:
    with PostgresServer() as server:
        index = await open_index(server.database())
        await index.put(batch({"a": file(1)}))
        url = server.database()
        server.stop()
        with pytest.raises(StorageUnavailable):
            await index.totals()
        with pytest.raises(StorageUnavailable):
            await index.put(batch({"b": file(2)}))
        await index.close()
        with pytest.raises(StorageUnavailable):
            await open_index(url)
