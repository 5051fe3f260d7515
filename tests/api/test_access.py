"""Signed URLs and tokens over HTTP: the cases A and X6, and every route with every kind of credentials."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import time
from pathlib import Path

import pytest

from tests.api.conftest import SECRET
from tests.serving import Client, served

TILE = "/tiles/test.tif/0/0/0.jpg"
FUTURE = 4102444800


def mac(text: str, secret: str = SECRET) -> str:
    """HMAC-SHA256, written once more so that the product's own is not its oracle."""
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()


def sign(path: str, params: str = "", *, expiry: int | None = None, secret: str = SECRET) -> str:
    """A signed URL; ``params`` are given in canonical order behind ``exp`` and need no encoding."""
    expiry = int(time.time()) + 600 if expiry is None else expiry
    pairs = sorted([f"exp={expiry}", *filter(None, params.split("&"))])
    return f"{path}?{params}{'&' if params else ''}sig={mac(path + '?' + '&'.join(pairs), secret)}&exp={expiry}"


def token(slide_id: str, *, expiry: int | None = None, secret: str = SECRET) -> str:
    """The query with a viewer token."""
    expiry = int(time.time()) + 600 if expiry is None else expiry
    return f"vt={mac(f'viewer:{slide_id}:{expiry}', secret)}&exp={expiry}"


def test_signed_requests_are_served(guarded: Client) -> None:
    for _ in range(2):
        answer = guarded.get(sign(TILE))
        answer.jpeg()
        assert answer.headers["cache-control"].startswith("private, max-age=")
        assert int(answer.headers["cache-control"].rpartition("=")[2]) <= 600
    answer = guarded.get(sign(TILE, "quality=90"))
    assert answer.headers["x-tile-quality"] == "90"
    assert guarded.get(sign("/slides")).json()["slides"]


def test_the_published_vectors_are_valid(guarded: Client) -> None:
    first = "3f7dce23d8946be4b29d4a1d9c2186ed45fa1c6264b7eb861eab8dedf432c678"
    second = "a80df4a49ea8304d51731af70981673a49ca5ce23fd0175a1d52302ffb817b63"
    assert guarded.get(f"{TILE}?sig={first}&exp={FUTURE}").status == 200
    assert guarded.get(f"{TILE}?quality=90&sig={second}&exp={FUTURE}").status == 200
    assert guarded.get(f"{TILE}?sig={first.upper()}&exp=%2B0{FUTURE}").status == 200
    third = "bcc83567bedd3d8bd1938e70ad3b6906b182854a75565ef7b1e14484b1baac98"
    path = "/tiles/folder%2Fsub%20folder%2Fslide.svs/0/1/2.jpg"
    assert guarded.get(f"{path}?exp={FUTURE}&quality=80&sig={third}").status == 200
    assert guarded.get(f"{path.replace('%2F', '%2f')}?exp={FUTURE}&quality=80&sig={third}").error == "invalid_signature"
    viewer = "6e91384d260afcfdd79ff73168bc9f797a6eabd8791d5200afa782f284f5695e"
    assert guarded.get(f"{TILE}?vt={viewer}&exp={FUTURE}").status == 200


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("", 401, "missing_expiry"),
        ("sig=" + "0" * 64, 401, "missing_expiry"),
        (f"exp={FUTURE}", 401, "missing_signature"),
        (f"exp={FUTURE}&sig={'0' * 64}", 401, "invalid_signature"),
        (f"exp={FUTURE}&sig=00", 401, "invalid_signature"),
        (f"exp={FUTURE}&sig=", 401, "invalid_signature"),
        (f"exp={FUTURE}&sig=not-valid-hex", 400, "invalid_signature_format"),
        (f"exp={FUTURE}&sig=000", 400, "invalid_signature_format"),
        ("exp=1&sig=not-valid-hex", 401, "signature_expired"),
        (f"exp={FUTURE}&exp={FUTURE}&sig=00", 400, "invalid_expiry_format"),
        (f"exp={FUTURE}&sig=00&sig=00", 400, "invalid_signature_format"),
        (f"exp={FUTURE}&vt=00&vt=00", 400, "invalid_signature_format"),
        ("exp=soon&sig=00", 400, "invalid_expiry_format"),
        ("exp=-5&sig=00", 400, "invalid_expiry_format"),
        ("exp=18446744073709551616&sig=00", 400, "invalid_expiry_format"),
    ],
)
def test_refusals_have_their_codes(guarded: Client, query: str, status: int, code: str) -> None:
    for target in (f"{TILE}?{query}", f"/slides?{query}", f"/slides/test.tif?{query}"):
        answer = guarded.get(target)
        assert (answer.status, answer.error) == (status, code)
        assert SECRET not in answer.body.decode()


def test_what_is_signed_is_exactly_one_request(guarded: Client) -> None:
    signed = sign(TILE)
    query = signed.partition("?")[2]
    for other in ("/tiles/test.tif/0/1/0.jpg", "/tiles/test.tif/0/0/0", "/tiles/slide2.tif/0/0/0.jpg",
                  "/slides/test.tif", "/slides", "/tiles/test%2Etif/0/0/0.jpg",
                  "/tiles/test.tif/0/0/%30.jpg"):  # fmt: skip
        assert guarded.get(f"{other}?{query}").error == "invalid_signature", other
    assert guarded.get(f"{signed}&quality=90").error == "invalid_signature"
    assert guarded.get(sign(TILE, secret="another-secret-of-good-length")).error == "invalid_signature"


def test_expiry_is_checked_to_the_second(guarded: Client) -> None:
    now = int(time.time())
    assert guarded.get(sign(TILE, expiry=now - 1)).error == "signature_expired"
    assert guarded.get(sign(TILE, expiry=now - 100)).error == "signature_expired"
    assert guarded.get(f"{TILE}?{token('test.tif', expiry=now - 2)}").error == "signature_expired"


@pytest.mark.parametrize("path", [TILE, "/slides/test.tif", "/slides/test.tif/dzi", "/slides/test.tif/thumbnail",
                                  "/slides/test.tif/dzi_files/11/0_0.jpg"])  # fmt: skip
def test_a_viewer_token_opens_its_slide_and_no_other(guarded: Client, path: str) -> None:
    assert guarded.get(f"{path}?{token('test.tif')}").status == 200
    assert guarded.get(f"{path}?quality=70&{token('test.tif')}").status == 200
    other = path.replace("test.tif", "slide2.tif")
    assert guarded.get(f"{other}?{token('test.tif')}").error == "invalid_signature"
    assert guarded.get(f"/slides?{token('test.tif')}").error == "missing_signature"


def test_ids_with_folders_are_decoded_for_tokens(guarded: Client) -> None:
    query = token("folder/sub folder/slide.svs")
    for spelling in ("folder%2Fsub%20folder%2Fslide.svs", "folder%2fsub%20folder%2fslide%2Esvs"):
        assert guarded.get(f"/slides/{spelling}?{query}").status == 200
    assert guarded.get(f"/slides/folder%2Fsub+folder%2Fslide.svs?{query}").error == "invalid_signature"


def test_methods_do_not_help(guarded: Client) -> None:
    assert guarded.request("HEAD", TILE).status == 401
    assert guarded.request("HEAD", sign(TILE)).status == 200
    for method in ("POST", "PUT", "DELETE"):
        assert guarded.request(method, TILE).status in {401, 405}
        assert guarded.request(method, sign(TILE)).status == 405


PRIVATE = ["/slides", "/slides/test.tif", "/slides/test.tif/dzi", "/slides/test.tif/dzi_files/11/0_0.jpg",
           "/slides/test.tif/thumbnail", "/slides/test.tif/associated/label", "/slides/test.tif/icc", TILE,
           "/slides/test.tif/channels", "/slides/test.tif/tilejson", "/slides/test.tif/vector/0/0/0.mvt",
           "/slides/test.tif/overlays", "/slides/test.tif/overlays/1.2.3/0/0/0.png",
           "/view/test.tif"]  # fmt: skip
PUBLIC = ["/health", "/", "/openapi.json"]


def test_every_route_is_in_the_table(guarded: Client) -> None:
    paths = guarded.get("/openapi.json").json()["paths"]
    for template in paths:
        parts = template.split("/")
        assert any(
            len(parts) == len(path.split("/"))
            and all(a == b or a.startswith("{") for a, b in zip(parts, path.split("/"), strict=True))
            for path in (*PRIVATE, *PUBLIC)
        ), f"{template} needs a row in the table of authorisation"


@pytest.mark.parametrize("path", PRIVATE)
def test_the_table_of_authorisation(guarded: Client, path: str) -> None:
    served_or_missing = {200, 404}
    for query in ("", "?sig=00&exp=" + str(FUTURE), f"?{token('test.tif', secret='another-secret-of-good-length')}",
                  "?" + sign(path, expiry=1).partition("?")[2], "?" + sign("/slides/slide2.tif").partition("?")[2],
                  f"?{token('slide2.tif')}", "?auth=none"):  # fmt: skip
        answer = guarded.get(path + query)
        assert answer.status in {400, 401}, (path, query)
        assert b"2048" not in answer.body
    assert guarded.get(sign(path)).status in served_or_missing
    # Whether a slide exists is not told to strangers.
    assert guarded.get(path.replace("test.tif", "missing.tif")).status == 401


@pytest.mark.parametrize("path", PUBLIC)
def test_what_is_public_tells_nothing_about_slides(guarded: Client, path: str) -> None:
    answer = guarded.get(path)
    assert answer.status == 200
    assert b".tif" not in answer.body


def test_a_malformed_host_does_not_change_what_is_signed(guarded: Client) -> None:
    good = sign(TILE)
    for host in ("x/slides?", "evil.example#", "a b", "[::1", "user@host:99999", ""):
        connection = http.client.HTTPConnection("127.0.0.1", guarded.port, timeout=30)
        for target, status in ((good, 200), (TILE, 401), (good.replace("/0/0/0.jpg", "/0/1/0.jpg"), 401)):
            connection.putrequest("GET", target, skip_host=True)
            connection.putheader("Host", host)
            connection.endheaders()
            response = connection.getresponse()
            response.read()
            assert response.status in {status, 400}, host
            assert response.status != 200 or status == 200
        connection.close()


def test_several_secrets_are_accepted_and_the_first_one_signs(slides: Path) -> None:
    old, new = "the-old-secret-0123456789", "the-new-secret-0123456789"
    with served(slides, auth_enabled=True, auth_secret=(new, old)) as client:
        assert client.get(sign(TILE, secret=old)).status == 200
        assert client.get(sign(TILE, secret=new)).status == 200
        page = client.get(sign("/view/test.tif", secret=old)).body.decode()
        expiry = page.partition("exp=")[2][:10]
        assert mac(f"viewer:test.tif:{expiry}", new) in page
        assert mac(f"viewer:test.tif:{expiry}", old) not in page


def test_the_viewer_is_public_only_when_asked_for(slides: Path, guarded: Client) -> None:
    assert guarded.get("/view/test.tif").status == 401
    with served(slides, auth_enabled=True, auth_secret=(SECRET,), public_view=True) as client:
        page = client.get("/view/test.tif")
        assert page.status == 200
        expiry = page.body.decode().partition("exp=")[2][:10]
        query = f"vt={mac(f'viewer:test.tif:{expiry}')}&exp={expiry}"
        assert query in page.body.decode().replace("&amp;", "&").replace("\\u0026", "&")
        assert client.get(f"{TILE}?{query}").status == 200
        assert client.get(TILE).status == 401


def test_warm_answers_are_not_given_to_strangers(guarded: Client) -> None:
    signed = sign(TILE)
    etag = guarded.get(signed).headers["etag"]
    assert guarded.get(signed).hit
    assert guarded.get(TILE).status == 401
    assert guarded.get(TILE, {"If-None-Match": etag}).status == 401
    assert guarded.get(f"{TILE}?{token('slide2.tif')}").status == 401
