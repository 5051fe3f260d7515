"""What every question to a scene shares."""

from __future__ import annotations

from typing import Generic, TypeVar, get_args

import msgspec

R = TypeVar("R")


class Call(msgspec.Struct, Generic[R], frozen=True, kw_only=True):
    """A question whose answer is an ``R``: ``class Names(Call[list[str]], frozen=True, kw_only=True)``.

    Field types are checked when it is read on the other side. The name of the class is its name on the wire.
    """


def answer_type(call: type[Call[R]]) -> type[R]:
    """The type of the answer to a question."""
    for base in getattr(call, "__orig_bases__", ()):
        if arguments := get_args(base):
            return arguments[0]
    raise TypeError(f"{call.__name__} says no type of its answer")


class Picture(msgspec.Struct, frozen=True):
    """An encoded picture. ``version`` is the same as long as the picture is: the ETag of an answer."""

    data: bytes
    media_type: str
    width: int
    height: int
    version: str = ""


class File(msgspec.Struct, frozen=True):
    """A file that the scene has written into its own folder for the caller, who removes it after sending.

    ``path`` never leaves the server; ``name`` is what a client may see.
    """

    path: str
    name: str
    media_type: str = "application/octet-stream"


class Nodes(msgspec.Struct, frozen=True, kw_only=True):
    """Which nodes are meant: the one of ``id``, or those of a class (subclasses too) and an exact name; all without."""

    id: str | None = None
    class_name: str | None = None
    name: str | None = None
