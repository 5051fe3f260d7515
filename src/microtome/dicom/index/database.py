"""The seam between the index and its database: SQL with ``?`` for arguments, the same for every database."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, TypeVar

T = TypeVar("T")
Row = Sequence[Any]


class Reader(Protocol):
    """Asks."""

    async def fetch(self, sql: str, *arguments: Any) -> Sequence[Row]:
        """All rows of an answer."""
        ...

    def one_of(self, column: str) -> str:
        """A condition with one argument: the column is in a list made by ``listed``."""
        ...

    def listed(self, values: Iterable[str] | Iterable[int]) -> Any:
        """A list as an argument."""
        ...


class Writer(Reader, Protocol):
    """Asks and changes, inside of a transaction."""

    async def execute(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        """Once for every row of arguments."""
        ...


class Database(Reader, Protocol):
    """A database. Errors of the driver come out as StorageUnavailable."""

    def writing(self) -> AbstractAsyncContextManager[Writer]:
        """One transaction, and the only one that writes, over all processes. Undone when an exception leaves it."""
        ...

    async def transaction(self, work: Callable[[Writer], Coroutine[Any, Any, T]]) -> T:
        """The same with all of ``work`` in it, which awaits nothing but its writer."""
        ...

    def only_one(self, name: str) -> AbstractAsyncContextManager[bool]:
        """Whether nobody else is inside of the block ``name``, in any process."""
        ...

    async def close(self) -> None:
        """Close connections."""
        ...
