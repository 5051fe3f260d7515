"""Logins with tokens of a real OpenID Connect provider in a process of its own, which changes its keys and fails."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from microtome.auth.entitlements import EntitledPolicy, EntitlementOptions, group_rule
from microtome.auth.oidc import OidcOptions, OidcPolicy
from microtome.auth.policy import Principal
from microtome.auth.provider import open_client
from microtome.errors import Unauthenticated
from tests.e2e.oidcserver import NoProvider, OidcServer, install, new_keys

OURS, OTHERS = "https://slides.example/", "https://others.example/"
ALGORITHMS = ("RS256", "ES256", "EdDSA", "PS256", "Ed25519")
ENTITLEMENTS = {"RS256": ["urn:geant:lifescience-ri.eu:group:lifescience:proj:inst#aai.lifescience-ri.eu"]}


class Clock:
    """Monotonic time that a test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def server() -> Iterator[OidcServer]:
    try:
        install()
    except NoProvider as reason:
        pytest.skip(str(reason))
    with OidcServer([OURS, OTHERS], ENTITLEMENTS) as running:
        yield running


@pytest.fixture
def provider(server: OidcServer) -> OidcServer:
    server.start(new_keys(*ALGORITHMS))
    return server


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def login(provider: OidcServer, clock: Clock) -> AsyncIterator[OidcPolicy]:
    policy = OidcPolicy(OidcOptions(provider.url, OURS), open_client(), clock=clock)
    yield policy
    await policy.aclose()


async def enter(policy: OidcPolicy | EntitledPolicy, token: str) -> Principal:
    return await policy.authenticate({"authorization": f"Bearer {token}"})


async def refusal(policy: OidcPolicy, token: str) -> str:
    with pytest.raises(Unauthenticated) as raised:
        await enter(policy, token)
    return raised.value.message


async def test_every_algorithm_of_the_provider_lets_its_tokens_in(provider: OidcServer, login: OidcPolicy) -> None:
    for algorithm in ALGORITHMS:
        principal = await enter(login, provider.token(algorithm, OURS))
        assert (principal.subject, principal.issuer) == (algorithm, provider.url)
        assert await login.allows(principal, "any")


async def test_tokens_for_others_or_changed_ones_stay_outside(provider: OidcServer, login: OidcPolicy) -> None:
    for algorithm in ALGORITHMS:
        assert await refusal(login, provider.token(algorithm, OTHERS)) == "API access denied."
        head, _, signature = provider.token(algorithm, OTHERS).split(".")
        wished = provider.token(algorithm, OURS).split(".")[1]
        assert await refusal(login, f"{head}.{wished}.{signature}") == "Error decoding Token."


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
async def test_changed_keys_count_at_once(provider: OidcServer, login: OidcPolicy, algorithm: str) -> None:
    old = provider.token(algorithm, OURS)
    await enter(login, old)
    provider.start(new_keys(*ALGORITHMS))
    new = provider.token(algorithm, OURS)
    assert (await enter(login, new)).subject == algorithm
    assert await refusal(login, old) == "Public key required for token decoding not found."


async def test_a_provider_with_other_kinds_of_keys_lets_only_those_in(
    provider: OidcServer, login: OidcPolicy, clock: Clock
) -> None:
    old = provider.token("RS256", OURS)
    await enter(login, old)
    provider.start(new_keys("ES256", "EdDSA"))
    assert (await enter(login, provider.token("ES256", OURS))).subject == "ES256"
    assert await refusal(login, old) == "Algorithm required for token decoding not found."


async def test_retired_keys_end_with_the_interval(provider: OidcServer, login: OidcPolicy, clock: Clock) -> None:
    keys = new_keys("RS256", "ES256")
    provider.start(keys)
    old = provider.token("RS256", OURS)
    await enter(login, old)
    provider.start([*new_keys("RS256"), keys[1]])
    await enter(login, old)  # nobody has asked yet
    clock.now += 301
    assert await refusal(login, old) == "Public key required for token decoding not found."


async def test_logins_go_on_while_the_provider_is_down(provider: OidcServer, login: OidcPolicy, clock: Clock) -> None:
    tokens = [provider.token(algorithm, OURS) for algorithm in ALGORITHMS]
    await enter(login, tokens[0])
    provider.stop()
    for _ in range(3):
        clock.now += 1000
        for token in tokens:
            await enter(login, token)


async def test_nobody_enters_before_the_provider_was_reached(
    provider: OidcServer, login: OidcPolicy, clock: Clock
) -> None:
    token = provider.token("RS256", OURS)
    keys = new_keys("RS256")
    provider.stop()
    assert await refusal(login, token) == "Auth not initialized on server."
    provider.start(keys)
    clock.now += 11
    await enter(login, provider.token("RS256", OURS))


@pytest.mark.parametrize(("acr", "enters"), [("silver", True), ("gold", False)])
async def test_the_asked_authentication_context_must_be_there(provider: OidcServer, acr: str, *, enters: bool) -> None:
    policy = OidcPolicy(OidcOptions(provider.url, OURS, acr=acr), open_client())
    token = provider.token("EdDSA", OURS)
    if enters:
        await enter(policy, token)
    else:
        assert await refusal(policy, token) == "Authentication requires valid ACR."
    await policy.aclose()


async def test_a_provider_may_be_reached_by_another_name_than_its_issuer(provider: OidcServer) -> None:
    inside = provider.url.replace("127.0.0.1", "localhost")
    policy = OidcPolicy(OidcOptions(inside, OURS, rewrite_url=provider.url), open_client())
    assert (await enter(policy, provider.token("ES256", OURS))).issuer == provider.url
    await policy.aclose()


async def test_entitlements_come_from_the_provider(provider: OidcServer, login: OidcPolicy) -> None:
    policy = EntitledPolicy(login, group_rule(), EntitlementOptions(f"{provider.url}/entitlements"))
    ids = ["inst.proj.w.1", "inst.other.w.2", "w.3", "4"]
    member = await enter(policy, provider.token("RS256", OURS))
    guest = await enter(policy, provider.token("ES256", OURS))
    assert await policy.visible(member, ids) == ["inst.proj.w.1", "w.3"]
    assert await policy.visible(guest, ids) == ["w.3"]
