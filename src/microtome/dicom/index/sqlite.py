"""SQLite in WAL mode: readers never wait for the writer, writers of all processes for each other."""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import orjson

from microtome.dicom.index import schema
from microtome.dicom.index.database import Row, Writer
from microtome.errors import Busy, InvalidRequest, StorageUnavailable

T = TypeVar("T")
PATIENCE = 60.0
"""A writer waits so many s for its turn."""
READERS = 4
_CACHE = 64 * 1024 * 1024
_MAPPED = 1 << 30


class _Connection:
    """What asking and writing share."""

    def __init__(self, path: Path) -> None:
        self.raw = sqlite3.connect(path, timeout=PATIENCE, isolation_level=None, check_same_thread=False)
        for pragma in (
            "page_size = 8192", "journal_mode = WAL", "synchronous = NORMAL", f"cache_size = -{_CACHE // 1024}",
            f"mmap_size = {_MAPPED}", "case_sensitive_like = ON", "temp_store = MEMORY",
        ):  # fmt: skip
            self.raw.execute(f"PRAGMA {pragma}")


class SqliteDatabase:
    """The database in a file, which is made where there is none. Raises InvalidRequest when it is no index."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._local = threading.local()
        self._connections = list[sqlite3.Connection]()
        self._readers = ThreadPoolExecutor(READERS, "index-read")
        self._writer = ThreadPoolExecutor(1, "index-write")
        self._turn = asyncio.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with translated():
                self._set_up()
        except OSError as error:
            raise StorageUnavailable(f"The index cannot be made ({error.strerror})", permanent=True) from error

    def _set_up(self) -> None:
        connection = self._connection()
        connection.execute("BEGIN IMMEDIATE")
        known = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        if known and ("meta",) not in known:
            connection.execute("ROLLBACK")
            raise InvalidRequest("The file is a database, but no index of microtome", parameter="index")
        for statement in schema.statements(text="TEXT", whole="INTEGER", real="REAL", blob="BLOB"):
            connection.execute(statement)
        connection.execute("INSERT OR IGNORE INTO meta VALUES ('schema', ?), ('revision', '0')", (schema.VERSION,))
        version = connection.execute("SELECT value FROM meta WHERE name = 'schema'").fetchone()[0]
        connection.execute("COMMIT")
        if version != schema.VERSION:
            raise InvalidRequest(
                "The index was made by another version of microtome; make a new one", parameter="index"
            )

    def _connection(self) -> sqlite3.Connection:
        """The connection of this thread."""
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = _Connection(self._path).raw
            self._connections.append(connection)
        return connection

    async def fetch(self, sql: str, *arguments: Any) -> Sequence[Row]:
        """See Reader."""
        return await self._run(self._readers, lambda: self._connection().execute(sql, arguments).fetchall())

    def one_of(self, column: str) -> str:
        """See Reader."""
        return f"{column} IN (SELECT value FROM json_each(?))"  # noqa: S608  (columns are ours)

    def listed(self, values: Iterable[str] | Iterable[int]) -> Any:
        """See Reader."""
        return orjson.dumps(list(values)).decode()

    @asynccontextmanager
    async def writing(self) -> AsyncGenerator[_SqliteWriter]:
        """See Database."""
        async with self._turn:
            writer = _SqliteWriter(self)
            await writer.run("BEGIN IMMEDIATE")
            try:
                yield writer
            except BaseException:
                await asyncio.shield(writer.run("ROLLBACK"))
                raise
            await writer.run("COMMIT")

    async def transaction(self, work: Callable[[Writer], Coroutine[Any, Any, T]]) -> T:
        """See Database. All of it runs in the thread that writes: to go there for each statement would take longer."""

        def whole(connection: sqlite3.Connection) -> T:
            connection.execute("BEGIN IMMEDIATE")
            try:
                result = _completed(work(_ThreadWriter(self, connection)))
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")
            return result

        async with self._turn:
            return await self.on_writer(whole)

    async def on_writer(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run in the one thread that writes."""
        return await self._run(self._writer, lambda: work(self._connection()))

    @asynccontextmanager
    async def only_one(self, name: str) -> AsyncGenerator[bool]:
        """By a lock of the system on a file beside the database: it falls with the process, whatever ends it."""
        path = self._path.with_name(f"{self._path.name}-{name}")
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                yield False
                return
            yield True
        finally:
            os.close(descriptor)

    async def close(self) -> None:
        """See Database."""
        for pool in (self._readers, self._writer):
            await asyncio.to_thread(pool.shutdown)
        for connection in self._connections:
            connection.close()

    async def _run(self, pool: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        with translated():
            return await asyncio.get_running_loop().run_in_executor(pool, work)


class _SqliteWriter:
    """The open transaction. Every step is complete before the next, even when its task is cancelled."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database

    async def run(self, sql: str) -> None:
        """A statement without arguments."""
        await self._database.on_writer(lambda connection: connection.execute(sql))

    async def fetch(self, sql: str, *arguments: Any) -> Sequence[Row]:
        """See Reader."""
        return await self._database.on_writer(lambda connection: connection.execute(sql, arguments).fetchall())

    async def execute(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        """See Writer."""
        if rows:
            await self._database.on_writer(lambda connection: connection.executemany(sql, rows))

    def one_of(self, column: str) -> str:
        """See Reader."""
        return self._database.one_of(column)

    def listed(self, values: Iterable[str] | Iterable[int]) -> Any:
        """See Reader."""
        return self._database.listed(values)


class _ThreadWriter:
    """A transaction for code that runs in the thread that writes: nothing of it waits."""

    def __init__(self, database: SqliteDatabase, connection: sqlite3.Connection) -> None:
        self._database = database
        self._connection = connection

    async def fetch(self, sql: str, *arguments: Any) -> Sequence[Row]:
        """See Reader."""
        return self._connection.execute(sql, arguments).fetchall()

    async def execute(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        """See Writer."""
        if rows:
            self._connection.executemany(sql, rows)

    def one_of(self, column: str) -> str:
        """See Reader."""
        return self._database.one_of(column)

    def listed(self, values: Iterable[str] | Iterable[int]) -> Any:
        """See Reader."""
        return self._database.listed(values)


def _completed(work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that never waits."""
    try:
        work.send(None)
    except StopIteration as done:
        return done.value
    work.close()
    raise RuntimeError("a transaction waits for something else than its database")


@contextmanager
def translated() -> Generator[None]:
    """Errors of SQLite in our words."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
            raise Busy("The index is being written to; try again") from error
        if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_FULL:
            raise StorageUnavailable("There is no space left for the index", permanent=True) from error
        raise StorageUnavailable(f"The index could not be read or written ({error})") from error
    except sqlite3.DatabaseError as error:
        raise StorageUnavailable(
            f"The index is damaged ({error}); delete it and index again", permanent=True
        ) from error
