"""Fixtures with real servers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.e2e.faults import FaultProxy
from tests.e2e.s3server import NoServer, S3Server


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """A real S3 server, one for the whole run. Use a bucket of your own."""
    server = S3Server()
    try:
        server.__enter__()
    except NoServer as reason:
        pytest.skip(str(reason))
    try:
        yield server
    finally:
        server.__exit__(None, None, None)


@pytest.fixture
async def s3_proxy(s3_server: S3Server) -> AsyncIterator[FaultProxy]:
    """A proxy before the S3 server: counts requests, adds latency, breaks answers."""
    async with FaultProxy(s3_server.endpoint) as proxy:
        yield proxy
