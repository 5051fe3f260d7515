from __future__ import annotations

import os
from pathlib import PurePosixPath
from urllib.parse import quote, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microtome.errors import NotFound
from microtome.storage.keys import MAX_KEY_BYTES, check_key, is_key, is_prefix

PIECES = ["..", ".", "/", "//", "\\", "%2e", "%2E", "%2f", "%2F", "%5c", "%00", "%25", "\0", "a", "C:", " ", "é", "~"]
keys = st.one_of(st.text(), st.lists(st.sampled_from(PIECES), max_size=12).map("".join))


@given(keys)
def test_no_accepted_key_leaves_its_root(key: str) -> None:
    for _ in range(4):
        if not is_key(key):
            return
        joined = os.path.normpath("/root/of/slides/" + key)
        assert joined.startswith("/root/of/slides/")
        assert joined == "/root/of/slides/" + key or "%" in key  # nothing was folded away
        assert "\0" not in key
        assert not PurePosixPath(key).is_absolute()
        key = unquote(key)
        if "//" in key or key.endswith("/"):
            return  # decoded slashes are no way out, but no key either


@given(keys)
def test_what_is_refused_once_encoded_stays_refused(key: str) -> None:
    if ".." in key.split("/") or "\0" in key:
        encoded = quote(key, safe="", errors="surrogatepass")
        assert not is_key(encoded)
        assert not is_key(quote(encoded))


@pytest.mark.parametrize(
    "key",
    [
        "slide.svs",
        "a/b/c.tif",
        ".hidden",
        "...",
        "a..b/c",
        "100%.svs",
        "50%25.svs",
        "a%2fb.svs",
        "ä/日本.svs",
        "aa:b",
        "x" * MAX_KEY_BYTES,
    ],
)
def test_honest_keys(key: str) -> None:
    assert check_key(key) == key


@pytest.mark.parametrize(
    "key",
    [
        "", "/a", "a/", "a//b", ".", "..", "a/..", "a/../b", "./a", "a\\b", "a\0", "a\x1f", "a\x7f", "a\x85", "c:a",
        "\udc80", "%2e%2e/a", "a/%2E%2e", "a%2f..%2fb", "%252e%252e%252fa", "..%5ca", "a%00", "%2fetc", "é" * 513,
        "%2525252525252541",
    ],
)  # fmt: skip
def test_hostile_keys_are_not_found(key: str) -> None:
    with pytest.raises(NotFound) as caught:
        check_key(key)
    assert caught.value.what == "slide"
    assert not is_key(key)


def test_prefixes() -> None:
    assert all(map(is_prefix, ["a", "a/", "a/.", "a/..", "."]))  # "a/..x" is a key
    assert not any(map(is_prefix, ["/", "a//", "../", "a/../", "a\0", "x" * MAX_KEY_BYTES]))


@given(keys, st.integers(0, 30))
def test_the_beginning_of_a_key_is_a_prefix(key: str, length: int) -> None:
    if is_key(key + "x"):
        assert is_prefix(key)
    if is_key(key) and "%" not in key and len(key.encode()) < MAX_KEY_BYTES:
        assert is_prefix(key[:length]) or key[:length].endswith(":") or key[:length] == ""
