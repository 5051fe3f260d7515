"""Bearer tokens: which are let in, what is asked of the provider, and when."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
from hashlib import sha256
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from microtome.auth.oidc import OidcOptions, OidcPolicy
from microtome.auth.policy import MAX_TOKEN
from microtome.auth.provider import MAX_ANSWER, open_client
from microtome.errors import InvalidRequest, Unauthenticated
from tests.unit.auth.idp import AUDIENCE, NOW, URL, Clock, Idp, enter, jwk, private_key, token

GARBAGE = "Error decoding Token."
INVALID = "Invalid Token."
NO_KEY = "Public key required for token decoding not found."
NO_ALGORITHM = "Algorithm required for token decoding not found."
DENIED = "API access denied."
EXPIRED = "Access Token expired."


@pytest.fixture
def idp() -> Idp:
    return Idp()


async def refused(policy: OidcPolicy, text: str) -> str:
    with pytest.raises(Unauthenticated) as raised:
        await enter(policy, text)
    return raised.value.message


def encoded(part: Any) -> str:
    data = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


# --- who is let in


async def test_a_valid_token_names_its_principal_and_sees_every_slide(idp: Idp) -> None:
    policy = idp.policy()
    principal = await enter(policy, token(role="reader"))
    assert (principal.subject, principal.issuer, principal.expires) == ("anna", URL, NOW + 600)
    assert principal.payload["role"] == "reader"  # type: ignore[index]
    assert principal.grant.private
    assert principal.grant.expires == NOW + 600
    assert await policy.allows(principal, "any")
    assert await policy.visible(principal, ["b", "a"]) == ["b", "a"]


@pytest.mark.parametrize("written", ["Bearer {}", "bearer {}", "BEARER   {}", "{}", "  Bearer {} "])
async def test_the_word_bearer_may_be_written_anyhow_or_left_out(idp: Idp, written: str) -> None:
    principal = await idp.policy().authenticate({"authorization": written.format(token())})
    assert principal.subject == "anna"


@pytest.mark.parametrize("headers", [{}, {"authorization": ""}, {"authorization": "Bearer "}, {"cookie": "token=x"}])
async def test_without_a_token_the_challenge_names_no_error(idp: Idp, headers: dict[str, str]) -> None:
    with pytest.raises(Unauthenticated, match=r"^Not authenticated$") as raised:
        await idp.policy().authenticate(headers)
    assert raised.value.reason == "missing_token"
    assert raised.value.challenge == 'Bearer realm="microtome"'
    assert not idp.asked


async def test_a_wrong_token_is_told_what_is_wrong_with_it(idp: Idp) -> None:
    with pytest.raises(Unauthenticated) as raised:
        await enter(idp.policy(), token(exp=NOW - 60))
    assert raised.value.reason == "token_expired"
    assert raised.value.challenge == (
        'Bearer realm="microtome", error="invalid_token", error_description="Access Token expired."'
    )


ALGORITHMS = [
    ("RSA", "RS256"),
    ("RSA", "PS256"),
    ("P-256", "ES256"),
    ("P-384", "ES384"),
    ("P-521", "ES512"),
    ("Ed25519", "EdDSA"),
    ("Ed25519", "Ed25519"),
    ("Ed448", "EdDSA"),
    ("Ed448", "Ed448"),
]


@pytest.mark.parametrize(("kind", "algorithm"), ALGORITHMS)
async def test_every_kind_of_public_key_is_understood(idp: Idp, kind: str, algorithm: str) -> None:
    idp.keys = [jwk(private_key(kind), "one")]
    policy = idp.policy()
    await enter(policy, token(private_key(kind), algorithm))
    assert await refused(policy, token(private_key(kind, 1), algorithm)) == GARBAGE


async def test_only_algorithms_the_provider_advertises_count(idp: Idp) -> None:
    idp.keys = [jwk(private_key("RSA"), "one"), jwk(private_key("P-256"), "two")]
    idp.described["id_token_signing_alg_values_supported"] = ["ES256"]
    policy = idp.policy()
    await enter(policy, token(private_key("P-256"), "ES256", "two"))
    assert await refused(policy, token()) == NO_ALGORITHM


async def test_a_key_serves_only_the_algorithm_it_is_marked_with(idp: Idp) -> None:
    idp.keys = [jwk(private_key("RSA"), "one", alg="PS256")]
    policy = idp.policy()
    await enter(policy, token(algorithm="PS256"))
    assert await refused(policy, token(algorithm="RS256")) == NO_KEY


@pytest.mark.parametrize("marked", ["EdDSA", "Ed25519"])
@pytest.mark.parametrize("algorithm", ["EdDSA", "Ed25519"])
async def test_both_names_of_an_edwards_curve_mean_the_same(idp: Idp, marked: str, algorithm: str) -> None:
    idp.keys = [jwk(private_key("Ed25519"), "one", alg=marked)]
    await enter(idp.policy(), token(private_key("Ed25519"), algorithm))


async def test_no_algorithm_without_a_public_key_is_ever_accepted(idp: Idp) -> None:
    # The provider advertises ``none`` and HS256, and everybody knows its public key.
    public = private_key("RSA").public_key()
    secrets = [
        b"",
        public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
    ]
    body = encoded({"iss": URL, "aud": AUDIENCE, "sub": "eve", "exp": NOW + 600})
    policy = idp.policy()
    for name in ("none", "None", "NONE", "nOnE", ""):
        assert await refused(policy, f"{encoded({'alg': name, 'kid': 'one'})}.{body}.") == NO_ALGORITHM
    for secret in secrets:
        text = f"{encoded({'alg': 'HS256', 'kid': 'one'})}.{body}"
        forged = encoded(hmac.new(secret, text.encode(), sha256).digest())
        assert await refused(policy, f"{text}.{forged}") == NO_ALGORITHM
    idp.keys.append({"kty": "oct", "k": encoded(b"known to all"), "kid": "oct", "alg": "HS256"})
    text = f"{encoded({'alg': 'HS256', 'kid': 'oct'})}.{body}"
    assert await refused(idp.policy(), f"{text}.{encoded(hmac.new(b'known to all', text.encode(), sha256).digest())}")


async def test_a_token_cannot_bring_its_own_key(idp: Idp) -> None:
    own = jwk(private_key("RSA", 1), "one")
    for header in ({"jwk": own}, {"jku": "https://evil.example/keys"}, {"x5u": "https://evil.example/cert"}):
        assert await refused(idp.policy(), token(private_key("RSA", 1), header=header)) == GARBAGE
    assert all(request.url.host == "idp.example" for request in idp.requests)


@pytest.mark.parametrize("header", [{"crit": ["exp"], "exp": 1}, {"crit": []}, {"b64": False, "crit": ["b64"]}])
async def test_headers_that_must_be_understood_and_are_not_refuse_the_token(idp: Idp, header: dict[str, Any]) -> None:
    head, body, signature = token().split(".")
    changed = json.loads(base64.urlsafe_b64decode(head + "==")) | header
    assert await refused(idp.policy(), f"{encoded(changed)}.{body}.{signature}") == GARBAGE


@pytest.mark.parametrize(
    ("kind", "enters"),
    [
        ("JWT", True),
        ("at+jwt", True),
        ("application/at+JWT", True),
        (None, True),
        ("logout+jwt", False),
        ("secevent+jwt", False),
    ],
)
async def test_tokens_made_for_other_ends_give_no_access(idp: Idp, kind: str | None, *, enters: bool) -> None:
    text = token(header={"typ": kind})
    if enters:
        await enter(idp.policy(), text)
    else:
        assert await refused(idp.policy(), text) == INVALID


CLAIMS = [
    ({"exp": None}, INVALID),
    ({"exp": NOW - 10}, EXPIRED),
    ({"exp": NOW - 9}, None),
    ({"exp": NOW - 9.5}, None),
    ({"exp": str(int(NOW + 600))}, INVALID),
    ({"exp": True}, INVALID),
    ({"exp": 10**400}, INVALID),
    ({"exp": float("inf")}, INVALID),
    ({"exp": float("nan")}, INVALID),
    ({"exp": -1}, EXPIRED),
    ({"nbf": NOW + 10}, None),
    ({"nbf": NOW + 11}, INVALID),
    ({"nbf": [1]}, INVALID),
    ({"iat": NOW + 10}, None),
    ({"iat": NOW + 11}, INVALID),
    ({"iat": None}, None),
    ({"iss": None}, INVALID),
    ({"iss": URL + "/"}, INVALID),
    ({"iss": [URL]}, INVALID),
    ({"aud": None}, DENIED),
    ({"aud": "other"}, DENIED),
    ({"aud": "slides-not"}, DENIED),
    ({"aud": []}, DENIED),
    ({"aud": {"slides": 1}}, DENIED),
    ({"aud": ["other", AUDIENCE]}, None),
    ({"sub": 7}, INVALID),
    ({"sub": None}, None),
]


@pytest.mark.parametrize(("claims", "message"), CLAIMS, ids=[str(claims)[:40] for claims, _ in CLAIMS])
async def test_claims(idp: Idp, claims: dict[str, Any], message: str | None) -> None:
    text = token(**claims)
    if message is None:
        await enter(idp.policy(), text)
    else:
        assert await refused(idp.policy(), text) == message


GARBLED = [
    "x",
    "a.b.c",
    "...",
    "a.b",
    "Basic abc",
    "\u00e9",
    "\udcff",
    "a.b.c.d.e",
    "x" * (MAX_TOKEN + 1),
    "W10.W10.W10",
    encoded({"alg": "RS256", "kid": 7}) + ".e30.AAAA",
    encoded(b"[" * 6000) + ".e30.AAAA",
]


@pytest.mark.parametrize("text", GARBLED, ids=range(len(GARBLED)))
async def test_garbage_is_refused_as_garbage(idp: Idp, text: str) -> None:
    assert await refused(idp.policy(), text) == GARBAGE


async def test_tokens_have_a_longest_size(idp: Idp) -> None:
    room = (MAX_TOKEN - len(token(x=""))) // 4 * 3
    fitting = token(x="x" * room)
    assert MAX_TOKEN - 8 < len(fitting) <= MAX_TOKEN
    await enter(idp.policy(), fitting)
    assert await refused(idp.policy(), token(x="x" * (room + 12))) == GARBAGE


@pytest.mark.parametrize("payload", [b"[]", b"1", b"null", b"{", b"[" * 6000, b"\xff"])
async def test_a_signed_payload_must_be_an_object(idp: Idp, payload: bytes) -> None:
    assert (
        await refused(idp.policy(), jwt.PyJWS().encode(payload, private_key("RSA"), "RS256", {"kid": "one"})) == GARBAGE
    )


async def test_the_authentication_context_is_checked_where_one_is_asked_for(idp: Idp) -> None:
    policy = idp.policy(acr='https://refeds.org/"mfa"')
    await enter(policy, token(acr='https://refeds.org/"mfa"'))
    others: list[dict[str, Any]] = [{}, {"acr": "password"}, {"acr": ['https://refeds.org/"mfa"']}]
    for claims in others:
        assert await refused(policy, token(**claims)) == "Authentication requires valid ACR."
    with pytest.raises(Unauthenticated) as raised:
        await enter(policy, token())
    assert 'error="insufficient_user_authentication"' in raised.value.challenge
    assert r'acr_values="https://refeds.org/\"mfa\""' in raised.value.challenge


async def test_a_token_that_was_good_ends_when_it_says(idp: Idp) -> None:
    now = Clock(NOW)
    policy = idp.policy(now=now)
    text = token()
    await enter(policy, text)
    now.now += 609
    await enter(policy, text)
    now.now += 1
    assert await refused(policy, text) == EXPIRED


async def test_principals_are_never_mixed_up(idp: Idp) -> None:
    policy = idp.policy()
    texts = {name: token(sub=name) for name in ("anna", "ben", "cleo")}
    again = token(sub="anna", jti="2")
    first = {name: await enter(policy, text) for name, text in texts.items()}
    for _ in range(2):
        for name, text in texts.items():
            found = await enter(policy, text)
            assert found.subject == name
            assert found == first[name]
    other = await enter(policy, again)
    assert (other.subject, other == first["anna"]) == ("anna", False)
    assert texts["anna"] not in repr(first["anna"])


# --- what is asked of the provider


async def test_keys_are_fetched_once_however_many_ask(idp: Idp) -> None:
    policy = idp.policy()
    idp.gate = asyncio.Event()
    waiting = [asyncio.create_task(enter(policy, token(sub=str(number)))) for number in range(20)]
    await asyncio.sleep(0)
    idp.gate.set()
    found = await asyncio.gather(*waiting)
    assert [principal.subject for principal in found] == [str(number) for number in range(20)]
    assert [str(request.url) for request in idp.requests] == [f"{URL}/.well-known/openid-configuration", f"{URL}/keys"]


async def test_nothing_is_fetched_before_somebody_comes(idp: Idp) -> None:
    policy = idp.policy()
    await policy.aclose()
    assert not idp.asked


async def test_keys_are_fetched_again_when_they_are_old(idp: Idp) -> None:
    clock = Clock()
    policy = idp.policy(clock, refresh_interval=300)
    await enter(policy, token())
    clock.now = 299.9
    known = await enter(policy, token())
    assert idp.asked["keys"] == 1
    clock.now = 300
    again = await enter(policy, token())
    assert idp.asked["keys"] == 2
    assert again.payload is known.payload  # the same keys, so the token is not checked anew
    idp.keys = [jwk(private_key("RSA", 1), "two")]
    clock.now = 600
    assert await refused(policy, token()) == NO_KEY
    assert idp.asked["keys"] == 4  # the interval, and once more for the key that is gone


async def test_a_new_key_counts_at_once_and_the_old_one_no_more(idp: Idp) -> None:
    policy = idp.policy()
    old = token()
    await enter(policy, old)
    idp.keys = [jwk(private_key("RSA", 1), "two")]
    await enter(policy, old)  # nobody has asked yet
    await enter(policy, token(private_key("RSA", 1), kid="two"))
    assert idp.asked["keys"] == 2
    assert await refused(policy, old) == NO_KEY


async def test_a_key_changed_under_its_name_counts_from_the_next_fetch(idp: Idp) -> None:
    clock = Clock()
    policy = idp.policy(clock)
    old = token()
    await enter(policy, old)
    idp.keys = [jwk(private_key("RSA", 1), "one")]
    clock.now += 300
    assert await refused(policy, old) == GARBAGE
    await enter(policy, token(private_key("RSA", 1)))


async def test_unknown_keys_make_at_most_one_request_in_a_while(idp: Idp) -> None:
    clock = Clock()
    policy = idp.policy(clock, retry_pause=10)
    await enter(policy, token())
    for number in range(50):
        assert await refused(policy, token(kid=f"guess {number}")) == NO_KEY
    assert idp.asked["keys"] == 2
    clock.now += 10
    await asyncio.gather(*(refused(policy, token(kid=f"guess {number}")) for number in range(50)))
    assert idp.asked["keys"] == 3
    await enter(policy, token())


async def test_everyone_who_waits_for_a_new_key_gets_it(idp: Idp) -> None:
    policy = idp.policy()
    await enter(policy, token())
    idp.keys = [jwk(private_key("RSA", 1), "two")]
    idp.gate = asyncio.Event()
    texts = [token(private_key("RSA", 1), kid="two", sub=str(number)) for number in range(9)]
    waiting = [asyncio.create_task(enter(policy, text)) for text in texts]
    for _ in range(5):
        await asyncio.sleep(0)
    idp.gate.set()
    assert [found.subject for found in await asyncio.gather(*waiting)] == [str(number) for number in range(9)]
    assert idp.asked["keys"] == 2


FAILURES: list[int | bytes | Exception] = [
    500, 404, 302, 204, b"", b"no json", b"[]", b"{}", b'{"keys": []}', b'{"keys": 7}', b"[" * 100_000,
    b'"' + b"x" * MAX_ANSWER + b'"', httpx.ConnectError("refused"), httpx.ReadTimeout("slow"), TimeoutError(),
]  # fmt: skip


@pytest.mark.parametrize("failure", FAILURES, ids=[repr(failure)[:30] for failure in FAILURES])
@pytest.mark.parametrize("path", ["openid-configuration", "keys"])
async def test_outages_are_survived_with_the_last_good_keys(
    idp: Idp, path: str, failure: int | bytes | Exception
) -> None:
    clock = Clock()
    policy = idp.policy(clock, retry_pause=10)
    idp.answers[path] = failure
    assert await refused(policy, token()) == "Auth not initialized on server."
    idp.answers.clear()
    assert await refused(policy, token()) == "Auth not initialized on server."  # not asked again so soon
    clock.now += 10
    await enter(policy, token())

    idp.answers[path] = failure
    for _ in range(3):
        clock.now += 1000
        await enter(policy, token())
        await enter(policy, token(sub="ben"))
    assert await refused(policy, token(kid="two")) == NO_KEY
    assert not idp.asked["elsewhere"]  # where redirects lead
    await policy.aclose()


async def test_nobody_waits_for_a_provider_that_failed_before(idp: Idp) -> None:
    clock = Clock()
    policy = idp.policy(clock, refresh_interval=300, retry_pause=10)
    await enter(policy, token())
    idp.answers["keys"] = 500
    clock.now = 300
    await enter(policy, token())
    idp.gate = asyncio.Event()  # from now on it does not even answer
    tasks = 0
    for _ in range(5):
        clock.now += 10
        async with asyncio.timeout(5):
            await enter(policy, token())
        for _ in range(20):  # time for what runs in the background
            await asyncio.sleep(0)
        tasks = tasks or len(asyncio.all_tasks())
        assert len(asyncio.all_tasks()) == tasks
    assert idp.asked["openid-configuration"] == 3  # one attempt hangs; no second one is started beside it
    idp.answers.clear()
    idp.keys = [jwk(private_key("RSA", 1), "two")]
    idp.gate.set()
    await enter(policy, token(private_key("RSA", 1), kid="two"))
    await policy.aclose()


async def test_after_an_outage_keys_end_with_the_interval_again(idp: Idp) -> None:
    clock = Clock()
    policy = idp.policy(clock)
    idp.answers["keys"] = 500
    assert await refused(policy, token()) == "Auth not initialized on server."
    idp.answers.clear()
    clock.now += 10
    await enter(policy, token())
    idp.keys = [jwk(private_key("RSA", 1), "two")]
    clock.now += 300
    assert await refused(policy, token()) == NO_KEY


@pytest.mark.parametrize(("more", "enters"), [(0, True), (1, False)])
@pytest.mark.parametrize("path", ["openid-configuration", "keys"])
async def test_answers_have_a_longest_size(idp: Idp, path: str, more: int, *, enters: bool) -> None:
    known = {"openid-configuration": idp.described, "keys": {"keys": idp.keys}}
    idp.answers[path] = json.dumps(known[path]).encode().ljust(MAX_ANSWER + more)
    if enters:
        await enter(idp.policy(), token())
    else:
        assert await refused(idp.policy(), token()) == "Auth not initialized on server."


async def test_a_silent_provider_is_given_up(idp: Idp) -> None:
    idp.gate = asyncio.Event()
    policy = idp.policy(timeout=0.01)
    assert await refused(policy, token()) == "Auth not initialized on server."


async def test_a_client_that_leaves_does_not_spoil_the_keys_for_others(idp: Idp) -> None:
    policy = idp.policy()
    idp.gate = asyncio.Event()
    leaving = asyncio.create_task(enter(policy, token()))
    staying = asyncio.create_task(enter(policy, token(sub="ben")))
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.sleep(0)
    idp.gate.set()
    assert (await staying).subject == "ben"
    assert idp.asked["keys"] == 1
    assert leaving.cancelled()


async def test_keys_that_cannot_be_used_are_passed_over(idp: Idp) -> None:
    good = jwk(private_key("RSA"), "one")
    idp.keys = [
        {"kty": "oct", "k": "AAAA", "kid": "oct"},
        {"kty": "LWE", "kid": "of the future"},
        {"kty": "EC", "crv": "P-256", "x": "AAAA", "y": "AAAA", "kid": "not on the curve"},
        {"kty": "EC", "crv": "P-256", "kid": "no point"},
        {"kty": "RSA", "n": 7, "e": "AQAB", "kid": "number"},
        {"kty": "OKP", "crv": "X25519", "x": "A" * 43, "kid": "for agreement"},
        jwk(private_key("secp256k1"), "another curve"),
        jwk(private_key("RSA-1024"), "short"),
        jwk(private_key("RSA", 1), "for encryption", use="enc"),
        jwk(private_key("RSA", 1), "for encryption 2", key_ops=["encrypt"]),
        jwk(private_key("RSA", 1), "for encryption 3", alg="RSA-OAEP"),
        jwk(private_key("RSA", 1), "of no algorithm", alg=7),
        {**good, "kid": 7},
        {**good, "kid": ["list"]},
        "no key",  # type: ignore[list-item]
        None,  # type: ignore[list-item]
        {},
        good,
    ]
    policy = idp.policy(retry_pause=0)
    await enter(policy, token())
    for kid in ("for encryption", "for encryption 2", "for encryption 3", "of no algorithm"):
        assert await refused(policy, token(private_key("RSA", 1), kid=kid)) == NO_KEY
    with pytest.warns(jwt.InsecureKeyLengthWarning):
        weak = token(private_key("RSA-1024"), kid="short")
    assert await refused(policy, weak) == NO_KEY


async def test_a_token_without_a_key_id_needs_that_only_one_key_fits(idp: Idp) -> None:
    idp.keys = [jwk(private_key("RSA"), None), jwk(private_key("P-256"), None)]
    policy = idp.policy()
    await enter(policy, token(kid=None))
    await enter(policy, token(private_key("P-256"), "ES256", None))
    idp.keys.append(jwk(private_key("RSA", 1), None))
    assert await refused(idp.policy(), token(kid=None)) == NO_KEY


async def test_one_key_id_may_stand_for_keys_of_two_kinds(idp: Idp) -> None:
    idp.keys = [jwk(private_key("P-256"), "one"), jwk(private_key("RSA"), "one")]
    policy = idp.policy()
    await enter(policy, token())
    await enter(policy, token(private_key("P-256"), "ES256"))


async def test_urls_of_the_provider_are_rewritten_to_where_it_is_reached(idp: Idp) -> None:
    public = "https://login.example/realm"
    idp.described |= {"issuer": public, "jwks_uri": f"{public}/keys"}
    policy = idp.policy(rewrite_url=f"{public}/")
    assert (await enter(policy, token(iss=public))).issuer == public
    assert {request.url.host for request in idp.requests} == {"idp.example"}
    other = idp.policy(rewrite_url="https://another.example/realm")
    await enter(other, token(iss=public))
    assert idp.requests[-1].url.host == "login.example"


@pytest.mark.parametrize(
    ("url", "audience", "parameter"),
    [
        ("", "slides", "idp_url"),
        ("idp.example", "slides", "idp_url"),
        ("file:///etc", "slides", "idp_url"),
        ("https://", "slides", "idp_url"),
        (URL, "", "audience"),
    ],
)
async def test_a_login_without_provider_or_audience_is_refused(url: str, audience: str, parameter: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        OidcPolicy(OidcOptions(url, audience), open_client())
    assert raised.value.parameter == parameter
