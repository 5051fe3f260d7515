"""Where clients reach the server: only trusted proxies are believed, and only what can be an address."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.types import Scope

from microtome.api.forwarded import Proxies, is_host

TRUSTED = Proxies(["127.0.0.1", "10.0.0.0/8", "2001:db8::/32"])


def scope(client: str | None = "127.0.0.1", **headers: str | list[str]) -> Scope:
    listed = [
        (name, each) for name, value in headers.items() for each in ([value] if isinstance(value, str) else value)
    ]
    return {
        "type": "http",
        "scheme": "http",
        "client": None if client is None else (client, 1234),
        "headers": [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in listed],
    }


def origin(
    proxies: Proxies = TRUSTED, client: str | None = "127.0.0.1", root: str = "", **headers: str | list[str]
) -> str:
    return proxies.origin(scope(client, **{"host": "inner:3000", **headers}), root)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, "http://inner:3000"),
        ({"forwarded": "proto=https;host=pacs.example"}, "https://pacs.example"),
        ({"forwarded": 'for=1.2.3.4;proto=HTTPS;host="pacs.example:8443"'}, "https://pacs.example:8443"),
        ({"forwarded": 'for="[2001:db9::1]:99" ; host=a.example'}, "http://a.example"),
        ({"forwarded": "host=outer.example;for=1.2.3.4;proto=https, for=10.0.0.7"}, "https://outer.example"),
        ({"forwarded": "host=outer.example;for=1.2.3.4, for=10.0.0.7;proto=https;host=mid.example"}, "https://outer.example"),
        ({"forwarded": ["host=a.example;for=9.9.9.9", "for=10.1.1.1;proto=https"]}, "https://a.example"),
        ({"x_forwarded_proto": "https"}, "https://inner:3000"),
        ({"x_forwarded_proto": "https", "x_forwarded_host": "pacs.example"}, "https://pacs.example"),
        ({"x_forwarded_host": "pacs.example", "x_forwarded_prefix": "/pacs/"}, "http://pacs.example/pacs"),
        ({"x_forwarded_for": "1.2.3.4, 10.0.0.9", "x_forwarded_host": "a.example", "x_forwarded_proto": "https, http"},
         "https://a.example"),
        ({"forwarded": "host=a.example", "x_forwarded_host": "b.example"}, "http://a.example"),
    ],
)  # fmt: skip
def test_trusted_proxies_are_believed(headers: dict[str, Any], expected: str) -> None:
    assert origin(**headers) == expected


@pytest.mark.parametrize("client", ["192.168.1.1", "11.0.0.1", None, "", "nonsense", "::ffff:192.168.1.1"])
def test_nobody_else_is(client: str | None) -> None:
    headers: dict[str, Any] = {"forwarded": "proto=https;host=evil.example", "x_forwarded_host": "evil.example",
               "x_forwarded_prefix": "/evil", "x_forwarded_proto": "https"}  # fmt: skip
    assert origin(client=client, **headers) == "http://inner:3000"
    assert origin(Proxies(), "127.0.0.1", **headers) == "http://inner:3000"


def test_addresses_in_all_their_forms() -> None:
    for client in ("10.200.0.1", "::ffff:10.0.0.1", "2001:db8::5"):
        assert origin(client=client, x_forwarded_host="a.example") == "http://a.example"


def test_what_strangers_put_into_the_list_does_not_count() -> None:
    """The client sent a Forwarded of its own; the proxy added what it saw."""
    assert (
        origin(forwarded="host=evil.example;proto=ftp, for=6.6.6.6;host=pacs.example;proto=https")
        == "https://pacs.example"
    )
    listed: dict[str, Any] = {"x_forwarded_for": "10.0.0.1, 6.6.6.6", "x_forwarded_host": "evil.example, pacs.example"}
    assert origin(**listed) == "http://pacs.example"


HOSTILE = ["evil.example/path", "a b", "a\tb", 'a"b', "user@host", "host:99999", "host:0x1", "[::1", "a#b", "a?b",
           "<x>", "", "a\x7f", "a,b", "x" * 300]  # fmt: skip


@pytest.mark.parametrize("host", HOSTILE)
def test_hosts_that_are_none(host: str) -> None:
    assert not is_host(host)
    assert origin(host=host) == ""
    assert origin(host=host, root="/pacs") == "/pacs"
    assert "evil" not in origin(x_forwarded_host=host)
    quoted = host.replace("\\", "\\\\").replace('"', '\\"')
    assert origin(forwarded=f'host="{quoted}"') == "http://inner:3000"


@pytest.mark.parametrize(
    "text", ["host", "=x", "host=a.example;;proto", 'host="a', "host=a.example proto=https", ";", "\x00"]
)
def test_malformed_fields_say_nothing(text: str) -> None:
    assert origin(forwarded=text) in {"http://inner:3000", "http://a.example"}


@pytest.mark.parametrize(
    "prefix", ["//evil.example", "/a/../b", "/a b", "evil", "/a?b", "/<x>", "/" * 50, "/" + "a" * 200]
)
def test_prefixes_that_are_none(prefix: str) -> None:
    assert origin(x_forwarded_prefix=prefix) == "http://inner:3000"


def test_the_configured_root_path_counts_more() -> None:
    assert origin(root="/slides", x_forwarded_prefix="/other") == "http://inner:3000/slides"


@pytest.mark.parametrize("scheme", ["javascript", "ftp", "https://evil", ""])
def test_schemes_that_are_none(scheme: str) -> None:
    assert origin(x_forwarded_proto=scheme) == "http://inner:3000"


def test_what_is_no_network_is_refused() -> None:
    with pytest.raises(ValueError, match="nonsense"):
        Proxies(["nonsense"])
