"""Content codings of texts: the one a client likes best, and long texts only."""

from __future__ import annotations

import gzip

import imagecodecs
import pytest

from microtome.api.compression import COMPRESS_FROM, compressed, preferred


@pytest.mark.parametrize(
    ("header", "coding"),
    [
        ("", ""), ("gzip", "gzip"), ("x-gzip", "gzip"), ("GZIP, ZSTD", "zstd"), ("gzip, deflate, br, zstd", "zstd"),
        ("gzip;q=1.0, zstd;q=0.9", "gzip"), ("*", "zstd"), ("*;q=0.1, zstd;q=0", "gzip"), ("*;q=0", ""),
        ("gzip;q=0", ""), ("zstd;q=0.0", ""), ("identity;q=1, gzip;q=0.5", ""), ("identity;q=0.5, gzip", "gzip"),
        ("br, deflate", ""),        ("gzip;q=nonsense", ""), ("gzip;q=7", ""), (",,;", ""),
    ],
)  # fmt: skip
def test_codings_by_weight(header: str, coding: str) -> None:
    assert preferred(header) == coding


def test_long_texts_become_shorter() -> None:
    text = b'{"00100010":{"vr":"PN"}}' * 1000
    for level in (1, 6):
        assert gzip.decompress(compressed(text, "gzip", level=level).data) == text
        zstd = compressed(text, "zstd", level=level)
        assert bytes(imagecodecs.zstd_decode(zstd.data)) == text
        assert len(zstd.data) < 200
    assert {compressed(text, coding).suffix for coding in ("gzip", "zstd", "")} == {"-gz", "-zs", ""}
    short = b"x" * (COMPRESS_FROM - 1)
    assert compressed(short, "zstd") == (short, "")
