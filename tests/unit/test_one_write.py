"""What an answer writes at once becomes one write, and none of it waits for long or comes in another order."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from microtome.api.express.protocol import _MOST_HELD, _OneWrite  # pyright: ignore[reportPrivateUsage]


class Transport:
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.calls: list[object] = []

    def writelines(self, pieces: list[bytes]) -> None:
        self.calls.append(list(pieces))

    def close(self) -> None:
        self.calls.append("close")

    def is_closing(self) -> bool:
        return "close" in self.calls


def writer() -> tuple[_OneWrite, Transport]:
    transport = Transport()
    return _OneWrite(cast("Any", transport), asyncio.get_running_loop()), transport


async def test_head_and_body_are_one_write() -> None:
    one, transport = writer()
    one.write(b"head")
    one.write(b"body")
    assert transport.calls == []
    one.flush()
    one.flush()
    assert transport.calls == [[b"head", b"body"]]
    await asyncio.sleep(0)
    assert transport.calls == [[b"head", b"body"]]


async def test_a_body_that_takes_its_time_does_not_keep_the_head() -> None:
    one, transport = writer()
    one.write(b"head")
    await asyncio.sleep(0)
    assert transport.calls == [[b"head"]]
    one.write(b"body")
    await asyncio.sleep(0)
    assert transport.calls == [[b"head"], [b"body"]]


async def test_no_more_than_a_megabyte_is_held() -> None:
    one, transport = writer()
    one.write(b"head")
    one.write(bytes(_MOST_HELD))
    assert transport.calls == [[b"head", bytes(_MOST_HELD)]]


async def test_closing_comes_last() -> None:
    one, transport = writer()
    one.write(b"head")
    assert not one.is_closing()
    one.close()
    assert one.is_closing()
    assert transport.calls == [[b"head"], "close"]
