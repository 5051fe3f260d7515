"""Logger and counters. Silent until the application turns exporters on; counting costs one integer addition.

Rooms count with ``Counters`` objects that are handed to them, never with module globals, so that two applications in
one process, or two tests, do not see each other.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping

logger = logging.getLogger("microtome")
logger.addHandler(logging.NullHandler())


class Counters:
    """Named monotonic counters, such as ``storage.requests`` or ``tiles.untouched``."""

    __slots__ = ("_values",)

    def __init__(self) -> None:
        self._values: Counter[str] = Counter()

    def add(self, name: str, amount: int = 1) -> None:
        """Add ``amount`` to the counter ``name``."""
        self._values[name] += amount

    def get(self, name: str) -> int:
        """The value of ``name``, zero when it was never counted."""
        return self._values[name]

    def snapshot(self) -> Mapping[str, int]:
        """A copy of all counters, sorted by name."""
        return dict(sorted(self._values.items()))
