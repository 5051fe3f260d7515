"""Requests made to harm the server: spelled so that a proxy would understand them otherwise, or without end."""

from __future__ import annotations

import socket
from contextlib import suppress

import pytest

from microtome.api.express.protocol import MAX_HEAD_BYTES
from tests.serving import Client

PIECE = 64 * 1024
HEAD = b"GET /health HTTP/1.1\r\nhost: a\r\n"


def answered(client: Client, data: bytes, piece: bytes = b"", most: int = 0) -> tuple[bytes, int]:
    """What comes back for ``data`` and then ``piece`` again and again, and how many bytes of those were taken."""
    sent = 0
    with socket.create_connection(("127.0.0.1", client.port), timeout=30) as connection:
        connection.sendall(data)
        with suppress(ConnectionError):
            while sent < most:
                connection.sendall(piece)
                sent += len(piece)
        found = b""
        with suppress(ConnectionError):
            while part := connection.recv(PIECE):
                found += part
    return found, sent


@pytest.mark.parametrize(
    ("begin", "piece"),
    [
        (HEAD + b"x: ", b"a" * PIECE),
        (HEAD, b"a: b\r\n" * 10_000),
        (b"GET /", b"a" * PIECE),
        (HEAD + b"transfer-encoding: chunked\r\n\r\n0\r\n", b"a: b\r\n" * 10_000),
        (HEAD + b"transfer-encoding: chunked\r\n\r\n1;", b"a" * PIECE),
    ],
    ids=["a long header", "many headers", "a long path", "trailers", "a long chunk extension"],
)
def test_a_head_without_end_is_refused_before_it_is_kept(client: Client, begin: bytes, piece: bytes) -> None:
    most = 256 * MAX_HEAD_BYTES
    _, sent = answered(client, begin, piece, most)
    assert sent < most
    assert client.get("/health").status == 200


def test_a_head_that_is_too_long_is_told_so(client: Client) -> None:
    """In two parts: what the parser was given at once it has read already."""
    with socket.create_connection(("127.0.0.1", client.port), timeout=30) as connection:
        found = b""
        with suppress(ConnectionError):  # the server does not wait for the rest
            for _ in range(10):
                connection.sendall(HEAD.removesuffix(b"\r\n") if not found else b"")
                connection.sendall(b"a" * (MAX_HEAD_BYTES // 8))
        with suppress(ConnectionError):
            found = connection.recv(1000)
    assert found.startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize(
    "fields",
    [
        b"content-length: 5\r\ntransfer-encoding: chunked\r\n",
        b"transfer-encoding: xchunked\r\n",
        b"transfer-encoding : chunked\r\n",
        b"content-length: 5\r\ncontent-length: 6\r\n",
        b"content-length: +5\r\n",
        b" folded: y\r\n",
        b"x\0: y\r\n",
    ],
)
def test_requests_that_can_be_read_in_two_ways_are_refused(client: Client, fields: bytes) -> None:
    found, _ = answered(client, HEAD + fields + b"\r\n0\r\n\r\nGET /slides HTTP/1.1\r\nhost: a\r\n\r\n")
    assert found.startswith(b"HTTP/1.1 400 ")
    assert found.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize("target", ["/v3/cases", "/v3/cases/slides?case_id=a", "/validation_viewer/", "//evil/"])
def test_nothing_in_an_answer_comes_from_the_host_header(client: Client, target: str) -> None:
    headers = {"host": "evil.example", "x-forwarded-host": "evil.example", "x-forwarded-prefix": "/evil.example"}
    answer = client.get(target, headers)
    assert b"evil.example" not in answer.body
    assert not any("evil.example" in value for value in answer.headers.values())
