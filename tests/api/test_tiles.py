"""Tiles over HTTP: the cases P, C, FM and X of the family's contract."""

from __future__ import annotations

import http.client
from pathlib import Path

import pytest

from tests.serving import Client, served

TILE = "/tiles/test.tif/0/0/0.jpg"


def test_a_tile_is_a_complete_jpeg_that_may_be_kept(client: Client) -> None:
    answer = client.get(TILE)
    assert answer.jpeg().size == (256, 256)
    assert answer.headers["cache-control"] == "public, max-age=3600"
    assert answer.headers["x-tile-quality"] == "80"
    assert answer.headers["content-length"] == str(len(answer.body))


@pytest.mark.parametrize("name", ["0", "0.jpg", "+0.jpg"])
def test_the_extension_is_optional(client: Client, name: str) -> None:
    assert client.get(f"/tiles/test.tif/0/0/{name}").body == client.get(TILE).body


def test_the_quality_is_the_one_asked_for(client: Client) -> None:
    answer = client.get(f"{TILE}?quality=50")
    answer.jpeg()
    assert answer.headers["x-tile-quality"] == "50"
    small, large = client.get(f"{TILE}?quality=20"), client.get("/tiles/test.tif/0/1/0.jpg?quality=95")
    assert len(small.jpeg().tobytes()) == len(large.jpeg().tobytes())
    assert len(small.body) < len(large.body)


@pytest.mark.parametrize(
    ("target", "status", "code"),
    [
        (f"{TILE}?quality=0", 400, "invalid_quality"),
        (f"{TILE}?quality=101", 400, "invalid_quality"),
        (f"{TILE}?quality=255", 400, "invalid_quality"),
        ("/tiles/missing.tif/0/0/0.jpg?quality=0", 400, "invalid_quality"),
        ("/tiles/missing.tif/0/0/0.jpg", 404, "not_found"),
        ("/tiles/test.tif/10/0/0.jpg", 400, "invalid_level"),
        ("/tiles/test.tif/4294967296/0/0.jpg", 400, "invalid_level"),
        ("/tiles/test.tif/0/100/100.jpg", 400, "tile_out_of_bounds"),
        ("/tiles/test.tif/0/8/0.jpg", 400, "tile_out_of_bounds"),
        ("/tiles/test.tif/0/0/6.jpg", 400, "tile_out_of_bounds"),
        *((f"/tiles/test.tif/0/0/{name}", 400, "tile_out_of_bounds")
          for name in ("0.jpeg", "0.png", "0.JPG", "0.jpg.jpg", "abc", "-1", "4294967296")),
        ("/tiles/strip.tif/0/0/0.jpg", 415, "unsupported_format"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_told_with_its_code(client: Client, target: str, status: int, code: str) -> None:
    answer = client.get(target)
    if "strip" in target and answer.status == 500:
        assert answer.error == "decode_error"
        return
    assert (answer.status, answer.error) == (status, code)


def test_bounds_and_levels_stand_in_the_message(client: Client) -> None:
    assert "0-0" in client.get("/tiles/test.tif/10/0/0.jpg").json()["message"]
    message = client.get("/tiles/test.tif/0/100/100.jpg").json()["message"]
    assert "100" in message
    assert "7, 5" in message


@pytest.mark.parametrize(
    "target",
    [
        f"{TILE}?quality=abc", f"{TILE}?quality=-1", f"{TILE}?quality=256", f"{TILE}?quality=",
        f"{TILE}?quality=1&quality=2", f"{TILE}?exp=abc", "/tiles/test.tif/abc/0/0.jpg", "/tiles/test.tif/-1/0/0.jpg",
        "/tiles/test.tif/0/1.5/0.jpg", "/tiles/test.tif/0/4294967296/0.jpg", "/tiles/%ff/0/0/0.jpg",
        "/tiles/test.tif/18446744073709551616/0/0.jpg",
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_a_plain_400(client: Client, target: str) -> None:
    answer = client.get(target)
    assert answer.status == 400
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.body


def test_unknown_parameters_are_ignored(client: Client) -> None:
    assert client.get(f"{TILE}?colour=red").body == client.get(TILE).body


@pytest.mark.parametrize("slide", ["test.tif", "my_slide-2024.tif", "big-endian.tif", "bigtiff.tif", "test.svs"])
def test_every_layout_gives_every_tile(client: Client, slide: str) -> None:
    corners = [(x, y) for x in (0, 1, 2, 7) for y in (0, 1, 2, 5)]
    answers = client.together(*(f"/tiles/{slide}/0/{x}/{y}.jpg" for x, y in corners))
    assert {answer.jpeg().size for answer in answers} == {(256, 256)}
    assert len({answer.body for answer in answers}) == 1


def test_byte_orders_give_the_same_picture(client: Client) -> None:
    little, big = (client.get(f"/tiles/{name}/0/0/0.jpg") for name in ("test.tif", "big-endian.tif"))
    assert little.body == big.body
    assert little.jpeg().tobytes() == client.get("/tiles/test.svs/0/0/0.jpg").jpeg().tobytes()


def test_bytes_that_are_not_what_the_file_says_are_an_error_of_the_tile(client: Client) -> None:
    # The tile of F3 is a JPEG although the directory says LZW, which is a compression served here.
    answer = client.get("/tiles/lzw.tif/0/0/0.jpg")
    assert (answer.status, answer.error) == (500, "decode_error")
    assert "LZW" in answer.json()["message"]


# -- the cache ------------------------------------------------------------------------------------------------------


def hits(client: Client, *targets: str) -> list[bool]:
    found = [client.get(target) for target in targets]
    for answer in found:
        answer.jpeg()
    return [answer.hit for answer in found]


def test_the_second_time_is_a_hit(fresh: Client) -> None:
    assert hits(fresh, TILE, TILE) == [False, True]


def test_qualities_are_kept_apart(fresh: Client) -> None:
    low, high = f"{TILE}?quality=80", f"{TILE}?quality=90"
    assert hits(fresh, low, high, low, high) == [False, False, True, True]


def test_the_default_quality_is_80(fresh: Client) -> None:
    first, second = fresh.get(TILE), fresh.get(f"{TILE}?quality=80")
    assert (first.hit, second.hit) == (False, True)
    assert first.headers["x-tile-quality"] == second.headers["x-tile-quality"] == "80"
    assert first.body == second.body
    assert first.headers["etag"] == second.headers["etag"]


def test_tiles_and_slides_are_kept_apart(fresh: Client) -> None:
    other = "/tiles/test.tif/0/1/0.jpg"
    assert hits(fresh, TILE, other, TILE, other) == [False, False, True, True]
    assert hits(fresh, "/tiles/slide2.tif/0/0/0.jpg", TILE) == [False, True]
    assert fresh.get("/tiles/slide2.tif/0/0/0.jpg").body != fresh.get(TILE).body


def test_a_screen_of_tiles_twice(fresh: Client) -> None:
    screen = [f"/tiles/bigtiff.tif/0/{x}/{y}.jpg" for x in range(3) for y in range(3)]
    assert hits(fresh, *screen) == [False] * 9
    assert hits(fresh, *screen) == [True] * 9


def test_many_at_the_same_time(fresh: Client) -> None:
    for answer in fresh.together(*[f"{TILE}?quality=70"] * 5):
        answer.jpeg()
    for answer in fresh.together(*[f"/tiles/test.svs/0/{x}/{y}.jpg" for x in range(4) for y in range(4)]):
        answer.jpeg()


def test_a_small_cache_forgets_but_never_fails(slides: Path) -> None:
    with served(slides, cache_tiles=100_000, cache_answers=100_000) as client:
        tiles = [f"/tiles/test.tif/0/{x}/{y}.jpg?quality=81" for x in range(8) for y in range(6)]
        for answer in client.together(*tiles[:24]) + client.together(*tiles[24:]):
            answer.jpeg()
        kept = [answer for answer in map(client.get, reversed(tiles)) if answer.hit]
        assert 0 < sum(len(answer.body) for answer in kept) <= 100_000


def test_another_default_quality_is_told(slides: Path) -> None:
    with served(slides, jpeg_quality=60) as client:
        default, asked = client.get(TILE), client.get(f"{TILE}?quality=80")
        assert (default.headers["x-tile-quality"], asked.headers["x-tile-quality"]) == ("60", "80")
        assert default.body != asked.body


# -- validators, HEAD, OPTIONS, CORS -----------------------------------------------------------------------------------


@pytest.mark.parametrize("query", ["", "?quality=55"])
def test_what_a_client_has_is_not_sent_again(client: Client, query: str) -> None:
    first = client.get(TILE + query)
    etag = first.headers["etag"]
    for condition in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        again = client.get(TILE + query, {"If-None-Match": condition})
        assert (again.status, again.body) == (304, b""), condition
        assert again.headers["etag"] == etag
        assert again.headers["cache-control"] == first.headers["cache-control"]
    assert client.get(TILE + query, {"If-None-Match": '"other"'}).body == first.body


def test_validators_differ_where_bytes_differ(client: Client) -> None:
    targets = [TILE, f"{TILE}?quality=55", f"{TILE}?icc=srgb&quality=55", "/tiles/slide2.tif/0/0/0.jpg",
               "/tiles/test.tif/0/1/0.jpg"]  # fmt: skip
    assert len({client.get(target).headers["etag"] for target in targets}) == len(targets)


@pytest.mark.parametrize(
    "target", [TILE, f"{TILE}?quality=44", "/slides", "/slides/test.tif", "/slides/test.tif/dzi", "/health", "/",
               "/slides/test.tif/thumbnail", "/view/test.tif"]
)  # fmt: skip
def test_head_tells_what_get_would(client: Client, target: str) -> None:
    body = client.get(target)
    head = client.request("HEAD", target)
    assert (head.status, head.body) == (200, b"")
    changing = ("date", "x-tile-cache-hit")
    assert {k: v for k, v in head.headers.items() if k not in changing} == {
        k: v for k, v in body.headers.items() if k not in changing
    }


@pytest.mark.parametrize("target", ["/anything", TILE, "/health", "/slides/missing.tif"])
def test_options_is_answered_before_everything(client: Client, guarded: Client, target: str) -> None:
    for server in (client, guarded):
        answer = server.request("OPTIONS", target)
        assert (answer.status, answer.body) == (200, b"")
        assert answer.headers["access-control-allow-methods"] == "GET,HEAD,OPTIONS"
        assert answer.headers["access-control-allow-headers"] == "authorization,content-type"
        assert answer.headers["access-control-max-age"] == "86400"
        assert answer.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_other_methods_are_not_allowed(client: Client, method: str) -> None:
    answer = client.request(method, "/health", body=b"x")
    assert (answer.status, answer.body, answer.headers["allow"]) == (405, b"", "GET,HEAD")


@pytest.mark.parametrize(
    "target", ["/slides/", "/health/", "/tiles/a/b.svs/0/0/0.jpg", "/tiles/a/0/0", "/nothing", "/slides/a/b/c/d/e"]
)
def test_unknown_paths_are_empty_404s(client: Client, guarded: Client, target: str) -> None:
    for server in (client, guarded):
        answer = server.get(target)
        assert (answer.status, answer.body) == (404, b"")


VARY = "origin, access-control-request-method, access-control-request-headers"


@pytest.mark.parametrize("target", [TILE, f"{TILE}?quality=33", "/slides", "/nothing", "/tiles/test.tif/9/0/0.jpg"])
def test_every_answer_may_be_read_from_anywhere_by_default(client: Client, target: str) -> None:
    for _ in range(2):
        answer = client.get(target)
        assert answer.headers["access-control-allow-origin"] == "*"
        assert answer.headers["vary"] == VARY
        assert "access-control-allow-credentials" not in answer.headers


def test_only_listed_origins_are_echoed(slides: Path) -> None:
    with served(slides, cors_origins=("https://a.example", "https://b.example")) as client:
        for _ in range(2):
            for origin, echoed in (("https://a.example", True), ("https://b.example", True),
                                   ("https://c.example", False), ("https://a.example.evil", False),
                                   ("null", False)):  # fmt: skip
                answer = client.get(TILE, {"Origin": origin})
                assert answer.status == 200
                assert answer.headers.get("access-control-allow-origin") == (origin if echoed else None)
                assert answer.headers["vary"] == VARY
        assert "access-control-allow-origin" not in client.get(TILE).headers


def test_a_star_means_any_origin(slides: Path) -> None:
    with served(slides, cors_origins=("*",)) as client:
        assert client.get(TILE, {"Origin": "https://c.example"}).headers["access-control-allow-origin"] == "*"


def test_keep_alive_serves_all_kinds_on_one_connection(client: Client) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=30)
    for target, status in (
        (TILE, 200),
        ("/nothing", 404),
        (TILE, 200),
        ("/slides", 200),
        (f"{TILE}?quality=0", 400),
    ) * 3:
        connection.request("GET", target)
        response = connection.getresponse()
        response.read()
        assert response.status == status
        assert not response.will_close
    connection.close()
