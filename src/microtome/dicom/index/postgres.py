"""PostgreSQL through asyncpg."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterable, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import lru_cache
from typing import Any, TypeVar, cast
from zlib import crc32

import asyncpg  # pyright: ignore[reportMissingTypeStubs]

from microtome.dicom.index import schema
from microtome.dicom.index.database import Row, Writer
from microtome.errors import Busy, InvalidRequest, StorageUnavailable

T = TypeVar("T")
CONNECTIONS = 8
PATIENCE = 60.0
"""Longest wait in s for a connection or an answer."""
_TURN = 0x6D6963_726F
"""The advisory lock of the writers."""


class PostgresDatabase:
    """The database at a URL; ``open`` makes its tables. Collation of all text is "C", bytewise."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    @classmethod
    async def open(cls, url: str, *, space: str = "") -> PostgresDatabase:
        """Connect to ``postgresql://user:password@host:port/database``. Raises StorageUnavailable, InvalidRequest.

        ``space``, a word of letters, digits and underscores: a schema of its own, made where there is none.
        """
        with translated():
            # JIT costs more than these short questions take.
            pool = await cast("Any", asyncpg).create_pool(
                url, min_size=1, max_size=CONNECTIONS, command_timeout=PATIENCE, timeout=PATIENCE,
                server_settings={"jit": "off", **({"search_path": space} if space else {})},
            )  # fmt: skip
            database = cls(pool)
            try:
                async with database.writing() as writer:
                    if space:
                        await writer.execute(f"CREATE SCHEMA IF NOT EXISTS {space}", [()])
                    await database._set_up(writer)
            except BaseException:
                await pool.close()
                raise
        return database

    async def _set_up(self, writer: _PostgresWriter) -> None:
        text, whole, real, blob = 'text COLLATE "C"', "bigint", "double precision", "bytea"
        for statement in schema.statements(text=text, whole=whole, real=real, blob=blob):
            await writer.execute(statement, [()])
        start = "INSERT INTO meta VALUES (?, ?) ON CONFLICT DO NOTHING"
        await writer.execute(start, [("schema", schema.VERSION), ("revision", "0")])
        version = await writer.fetch("SELECT value FROM meta WHERE name = 'schema'")
        if version[0][0] != schema.VERSION:
            raise InvalidRequest(schema.OTHER_VERSION, parameter="index")

    async def fetch(self, sql: str, *arguments: Any) -> Sequence[Row]:
        """See Reader."""
        with translated():
            return await self._pool.fetch(numbered(sql), *arguments)

    def one_of(self, column: str) -> str:
        """See Reader."""
        return f"{column} = ANY(?)"

    def listed(self, values: Iterable[str] | Iterable[int]) -> Any:
        """See Reader."""
        return list(values)

    @asynccontextmanager
    async def writing(self) -> AsyncGenerator[_PostgresWriter]:
        """See Database."""
        with translated():
            async with self._pool.acquire() as connection, connection.transaction():
                await connection.execute("SELECT pg_advisory_xact_lock($1)", _TURN)
                yield _PostgresWriter(self, connection)

    async def transaction(self, work: Callable[[Writer], Coroutine[Any, Any, T]]) -> T:
        """See Database."""
        async with self.writing() as writer:
            return await work(writer)

    @asynccontextmanager
    async def only_one(self, name: str) -> AsyncGenerator[bool]:
        """By an advisory lock of a session: it falls with the connection."""
        lock = _TURN << 8 ^ crc32(name.encode())
        with translated():
            async with self._pool.acquire() as connection:
                mine = await connection.fetchval("SELECT pg_try_advisory_lock($1)", lock)
                try:
                    yield mine
                finally:
                    if mine and not connection.is_closed():
                        await connection.execute("SELECT pg_advisory_unlock($1)", lock)

    async def close(self) -> None:
        """See Database."""
        await self._pool.close()


class _PostgresWriter:
    """The open transaction."""

    def __init__(self, database: PostgresDatabase, connection: Any) -> None:
        self._database = database
        self._connection = connection

    async def fetch(self, sql: str, *arguments: Any) -> Sequence[Row]:
        """See Reader."""
        return await self._connection.fetch(numbered(sql), *arguments)

    async def execute(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        """See Writer."""
        if len(rows) == 1:
            await self._connection.execute(numbered(sql), *rows[0])
        elif rows:
            await self._connection.executemany(numbered(sql), rows)

    def one_of(self, column: str) -> str:
        """See Reader."""
        return self._database.one_of(column)

    def listed(self, values: Iterable[str] | Iterable[int]) -> Any:
        """See Reader."""
        return self._database.listed(values)


@lru_cache(maxsize=1024)
def numbered(sql: str) -> str:
    """``?`` as ``$1``, ``$2`` ...; no text of ours holds a question mark."""
    pieces = re.split(r"\?", sql)
    return "".join(f"{piece}${i}" for i, piece in enumerate(pieces[:-1], 1)) + pieces[-1]


@contextmanager
def translated() -> Generator[None]:
    """Errors of the driver in our words, without what its messages tell of the server."""
    try:
        yield
    except asyncpg.exceptions.DiskFullError as error:
        raise StorageUnavailable("There is no space left for the index", permanent=True) from error
    except (asyncpg.exceptions.TooManyConnectionsError, asyncpg.exceptions.LockNotAvailableError) as error:
        raise Busy("The database of the index is at its limit; try again") from error
    except (
        asyncpg.exceptions.InvalidAuthorizationSpecificationError,
        asyncpg.exceptions.InvalidCatalogNameError,
        asyncpg.exceptions.InsufficientPrivilegeError,
    ) as error:
        message = "The database of the index does not let us in; check user, password, database and rights"
        raise StorageUnavailable(message, permanent=True) from error
    except TimeoutError as error:
        raise StorageUnavailable("The database of the index did not answer in time", timed_out=True) from error
    except (OSError, asyncpg.exceptions.PostgresConnectionError, asyncpg.exceptions.InterfaceError) as error:
        raise StorageUnavailable("The database of the index cannot be reached", unreachable=True) from error
    except asyncpg.exceptions.PostgresError as error:
        raise StorageUnavailable("The database of the index refused a statement") from error
