"""Signed URLs and tokens: vectors computed independently (openssl), the order of checks, rotation."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microtome.auth.base import Claim
from microtome.auth.signed import SignedUrls, catalogue_token, sign_url, signature, viewer_token
from microtome.errors import InvalidRequest, Unauthenticated

SECRET = "test-secret-key-for-hmac-signing"
LATER = 4102444800
PATH = "/tiles/test.tif/0/0/0.jpg"


@pytest.mark.parametrize(
    ("secret", "path", "params", "expiry", "expected"),
    [
        ("test-secret-key", "/tiles/slides/sample.svs/0/1/2.jpg", [], 1735689600,
         "4bac12ceeb260a3259c4bafc9ac9dff909640aeab4d1f3dd0d04b8e11289c72e"),
        (SECRET, PATH, [], LATER, "3f7dce23d8946be4b29d4a1d9c2186ed45fa1c6264b7eb861eab8dedf432c678"),
        (SECRET, PATH, [("quality", "90")], LATER, "a80df4a49ea8304d51731af70981673a49ca5ce23fd0175a1d52302ffb817b63"),
        (SECRET, "/tiles/folder%2Fsub%20folder%2Fslide.svs/0/1/2.jpg", [("quality", "80")], LATER,
         "bcc83567bedd3d8bd1938e70ad3b6906b182854a75565ef7b1e14484b1baac98"),
        ("test-secret", "/slides", [("prefix", "folder a/"), ("limit", "10"), ("search", "é&=")], LATER,
         "306c7c6db39964d9b73aa1d519bfffe3a04be54edd15a5fc7a61d99c3d720626"),
        ("s", "/slides", [("z", "1"), ("a", "2"), ("a", "1"), ("F", "x"), ("exp2", "y")], LATER,
         "e527799dcb672ac1755a76bf22504406d3e3e483fec75b915903f3a25a81c4cf"),
    ],
)  # fmt: skip
def test_signature_vectors(secret: str, path: str, params: list[tuple[str, str]], expiry: int, expected: str) -> None:
    assert signature(secret, path, params, expiry) == expected


@pytest.mark.parametrize(
    ("secret", "slide", "expiry", "expected"),
    [
        ("test-secret-key", "slides/sample.svs", 1735689600,
         "47b8ce82b57a48746dcf364fbcb8bb4a0d21ec681111ca6dcd8dfb9ce358e32e"),
        (SECRET, "test.tif", LATER, "6e91384d260afcfdd79ff73168bc9f797a6eabd8791d5200afa782f284f5695e"),
        (SECRET, "folder/sub folder/slide.svs", LATER,
         "b199f306b1a1a92fff1b3b715211ca0e35258061950b2f1b3cb9576df08af786"),
    ],
)  # fmt: skip
def test_viewer_token_vectors(secret: str, slide: str, expiry: int, expected: str) -> None:
    assert viewer_token(secret, slide, expiry) == expected


def urls(*secrets: str, now: float = 1_000_000) -> SignedUrls:
    return SignedUrls(secrets or (SECRET,), now=lambda: now)


def reason(query: str, *, path: str = PATH, slide: str | None = "test.tif", now: float = 1_000_000) -> str:
    """The reason of a refusal, or "allowed"."""
    try:
        urls(now=now).authorise(Claim(path.encode(), query.encode(), slide))
    except Unauthenticated as refused:
        return refused.reason
    return "allowed"


GOOD = signature(SECRET, PATH, [], LATER)
TOKEN = viewer_token(SECRET, "test.tif", LATER)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", "missing_expiry"),
        (f"sig={GOOD}", "missing_expiry"),
        (f"exp={LATER}", "missing_signature"),
        (f"exp={LATER}&sig={GOOD}", "allowed"),
        (f"sig={GOOD.upper()}&exp={LATER}", "allowed"),
        (f"exp=%2B{LATER}&sig={GOOD}", "allowed"),
        (f"exp=00{LATER}&sig={GOOD}", "allowed"),
        (f"exp={LATER}&sig={'0' * 64}", "invalid_signature"),
        (f"exp={LATER}&sig=", "invalid_signature"),
        (f"exp={LATER}&sig=abc", "invalid_signature_format"),
        (f"exp={LATER}&sig=not-valid-hex", "invalid_signature_format"),
        (f"exp={LATER}&sig={GOOD}&quality=90", "invalid_signature"),
        (f"exp={LATER}&sig={GOOD}&sig={GOOD}", "invalid_signature_format"),
        (f"exp={LATER}&exp={LATER}&sig={GOOD}", "invalid_expiry_format"),
        (f"exp=abc&sig={GOOD}", "invalid_expiry_format"),
        (f"exp=-1&sig={GOOD}", "invalid_expiry_format"),
        (f"exp={1 << 64}&sig={GOOD}", "invalid_expiry_format"),
        (f"exp=1&sig={GOOD}", "signature_expired"),
        ("exp=1&sig=not-valid-hex", "signature_expired"),
        (f"vt={TOKEN}&exp={LATER}", "allowed"),
        (f"vt={TOKEN}&exp={LATER}&quality=7", "allowed"),
        (f"vt={'0' * 64}&exp={LATER}", "invalid_signature"),
        (f"vt={'0' * 64}&exp={LATER}&sig={GOOD}", "invalid_signature"),
        (f"vt=xyz&exp={LATER}", "invalid_signature_format"),
        (f"ct={catalogue_token(SECRET, LATER)}&exp={LATER}", "allowed"),
        (f"ct={TOKEN}&exp={LATER}", "invalid_signature"),
    ],
)  # fmt: skip
def test_the_reason_of_every_refusal(query: str, expected: str) -> None:
    assert reason(query) == expected


def test_a_token_is_for_one_slide_and_not_for_the_list() -> None:
    query = f"vt={TOKEN}&exp={LATER}"
    assert reason(query, path="/slides/other.tif", slide="other.tif") == "invalid_signature"
    assert reason(query, path="/slides", slide=None) == "missing_signature"


def test_expiry_is_inclusive() -> None:
    good = signature(SECRET, PATH, [], 500)
    assert reason(f"exp=500&sig={good}", now=500.9) == "allowed"
    assert reason(f"exp=500&sig={good}", now=501) == "signature_expired"


def test_the_path_is_signed_as_sent() -> None:
    query = f"exp={LATER}&sig={signature(SECRET, '/slides/a%2Fb.svs', [], LATER)}"
    assert reason(query, path="/slides/a%2Fb.svs") == "allowed"
    assert reason(query, path="/slides/a%2fb.svs") == "invalid_signature"


def test_rotation_accepts_old_secrets_and_signs_with_the_first() -> None:
    old, new = "old-secret-0123456789", "new-secret-0123456789"
    both = urls(new, old)
    for secret in (old, new):
        query = f"exp={LATER}&sig={signature(secret, PATH, [], LATER)}"
        assert both.authorise(Claim(PATH.encode(), query.encode())).expires == LATER
    token = both.slide_query("a.svs")
    assert urls(new).authorise(Claim(b"/tiles/a.svs/0/0/0", token.encode(), "a.svs")).private


def test_a_token_cannot_renew_itself() -> None:
    signer = urls(now=1000)
    token = signer.slide_query("a.svs")
    grant = urls(now=2000).authorise(Claim(b"/view/a.svs", token.encode(), "a.svs"))
    assert urls(now=2000).slide_query("a.svs", grant) == token
    catalogue = signer.catalogue_query()
    grant = urls(now=2000).authorise(Claim(b"/", catalogue.encode()))
    assert urls(now=2000).catalogue_query(grant) == catalogue


@pytest.mark.parametrize("secrets", [(), ("short",), ("long-enough-secret!", "short")])
def test_weak_secrets_are_refused(secrets: tuple[str, ...]) -> None:
    with pytest.raises(InvalidRequest):
        SignedUrls(secrets)


@given(
    st.lists(
        st.tuples(
            st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
            st.text(st.characters(exclude_categories=["Cs"])),
        )
    )
)
def test_what_sign_url_writes_is_accepted(params: list[tuple[str, str]]) -> None:
    params = [(name, value) for name, value in params if name not in {"sig", "vt", "ct", "exp"}]
    url = urlsplit(sign_url(SECRET, PATH, expiry=LATER, params=params).url)
    assert urls().authorise(Claim(url.path.encode(), url.query.encode())).private
