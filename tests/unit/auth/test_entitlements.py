"""Rules on ids by the entitlements of a user, and how entitlements are kept."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from microtome.auth.entitlements import (
    EntitledPolicy,
    EntitlementOptions,
    Owner,
    group_rule,
    owner_of,
    resource_rule,
)
from microtome.auth.provider import MAX_ANSWER
from microtome.errors import InvalidRequest, Unauthenticated
from tests.unit.auth.idp import URL, Clock, Idp, enter, token

URN = "urn:geant:lifescience-ri.eu"
AUTHORITY = "#aai.lifescience-ri.eu"
INVALID = "^Token or user info endpoint data is invalid!$"


@pytest.fixture
def idp() -> Idp:
    return Idp()


def groups(*names: str) -> dict[str, Any]:
    return {"eduperson_entitlement": [f"{URN}:group:life:{name}{AUTHORITY}" for name in names]}


def entitled(idp: Idp, clock: Clock | None = None, **options: Any) -> EntitledPolicy:
    return EntitledPolicy(idp.policy(), group_rule(), EntitlementOptions(**options), clock=clock or Clock())


# --- the rules


@pytest.mark.parametrize(
    ("slide_id", "owner"),
    [
        ("inst.proj.w.1", Owner("inst", "proj")),
        ("inst.proj.c.1", Owner("inst", "proj")),
        ("inst.w.1", Owner("inst", "")),
        ("..w.1", Owner("", "")),
        ("w.1", Owner(public=True)),
        ("1", None),
        ("", None),
        ("a.b.c.d.e", None),
        ("8d32dba05a4558218880f06caf30d3ac", None),
        ("case/a.tiff", None),
        ("case>a.tiff", None),
        ("case\\a.tiff", None),
        ("inst/x.proj.w.1", None),
    ],
)
def test_ids_name_their_owner(slide_id: str, owner: Owner | None) -> None:
    assert owner_of(slide_id) == owner


@pytest.mark.parametrize(
    ("institution", "project", "allowed"),
    [
        ("inst", "proj", True),
        ("inst", "other", False),
        ("other", "proj", False),
        ("", "proj", True),
        ("", "whole", True),
        ("inst", "whole", False),
        ("inst", "", False),
        ("", "", True),
        ("", "unknown", False),
        ("second", "proj", True),
        ("member", "proj", False),
        ("proj", "inst", False),
        ("", "8080", False),
    ],
)
def test_groups(institution: str, project: str, *, allowed: bool) -> None:
    entitlements = [
        f"{URN}:group:life:proj:inst:member{AUTHORITY}",
        f"{URN}:group:life:proj:second{AUTHORITY}",
        f"{URN}:group:life:whole{AUTHORITY}",
        f"{URN}:group:life{AUTHORITY}:8080",
        f"{URN}:group:life",
        f"{URN}:res:unknown:{institution}",
        "",
        ":",
    ]
    assert group_rule()(entitlements).allow(Owner(institution, project)) is allowed


def test_groups_by_another_prefix() -> None:
    rule = group_rule(r"urn:a:group|urn:b:(group)")
    rights = rule(["urn:a:group:one:inst", "urn:b:group:two:inst#x", "urn:c:group:three:inst"])
    assert [rights.allow(Owner("inst", name)) for name in ("one", "two", "three")] == [True, True, False]


def test_a_prefix_that_is_no_expression_is_refused() -> None:
    with pytest.raises(InvalidRequest) as raised:
        group_rule("(")
    assert raised.value.parameter == "lsaai_regex_prefix"


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(
    ("institution", "project", "allowed"),
    [
        ("inst", "", True),
        ("inst", "proj", True),
        ("inst", "second", True),
        ("inst", "third", False),
        ("bare", "", True),
        ("bare", "proj", False),
        ("stranger", "proj", False),
        ("stranger", "", False),
        ("life", "", False),
        ("", "", False),
        ("", "proj", False),
    ],
)
def test_resources_in_any_order(institution: str, project: str, *, allowed: bool, turned: bool) -> None:
    entitlements = [
        f"{URN}:group:life:inst{AUTHORITY}",
        f"{URN}:group:bare",
        f"{URN}:res:inst:proj{AUTHORITY}",
        f"{URN}:res:inst:second:act:read{AUTHORITY}",
        f"{URN}:res:stranger:proj{AUTHORITY}",
        f"{URN}:res:inst{AUTHORITY}",
        f"{URN}:res:{AUTHORITY}:inst:third",
        "nothing of this",
    ]
    rights = resource_rule(entitlements[::-1] if turned else entitlements)
    assert rights.allow(Owner(institution, project)) is allowed


# --- the policy


async def test_a_user_sees_what_they_are_entitled_to(idp: Idp) -> None:
    idp.users = {"anna": groups("proj:inst"), "ben": groups("other:inst")}
    policy = entitled(idp)
    anna, ben = await enter(policy, token()), await enter(policy, token(sub="ben"))
    ids = ["inst.proj.w.1", "w.2", "inst.other.w.3", "path/a.tiff", "inst.w.4", "5", "inst.proj.c.6"]
    assert await policy.visible(anna, ids) == ["inst.proj.w.1", "w.2", "inst.proj.c.6"]
    assert await policy.visible(ben, ids) == ["w.2", "inst.other.w.3"]
    for principal in (anna, ben):
        seen = await policy.visible(principal, ids)
        assert [slide_id for slide_id in ids if await policy.allows(principal, slide_id)] == seen
    assert idp.asked["userinfo"] == 2


@pytest.mark.parametrize("known", [{}, {"eduperson_entitlement": []}, {"eduperson_entitlement": [7, None, {}]},
                                   {"eduperson_entitlement": None}, {"eduperson_entitlement": {"a": 1}}])  # fmt: skip
async def test_a_user_without_entitlements_sees_what_everybody_does(idp: Idp, known: dict[str, Any]) -> None:
    idp.users = {"anna": known}
    policy = entitled(idp)
    anna = await enter(policy, token())
    assert await policy.visible(anna, ["inst.proj.w.1", "w.2"]) == ["w.2"]


async def test_one_entitlement_may_come_without_a_list(idp: Idp) -> None:
    idp.users = {"anna": {"eduperson_entitlement": f"{URN}:group:life:proj:inst"}}
    policy = entitled(idp)
    assert await policy.allows(await enter(policy, token()), "inst.proj.w.1")


async def test_a_token_must_name_its_user(idp: Idp) -> None:
    with pytest.raises(Unauthenticated, match=INVALID):
        await enter(entitled(idp), token(sub=None))


async def test_the_users_token_goes_to_the_endpoint_and_nothing_of_others_does(idp: Idp) -> None:
    policy = entitled(idp, endpoint=f"{URL}/elsewhere/userinfo")
    for name in ("anna", "ben"):
        await policy.visible(await enter(policy, token(sub=name)), [])
    asked = [request for request in idp.requests if request.url.path.endswith("userinfo")]
    assert [request.headers["authorization"] for request in asked] == [
        f"Bearer {token(sub=name)}" for name in ("anna", "ben")
    ]
    # The provider sets a cookie for each user; it never comes back.
    assert all("cookie" not in request.headers for request in idp.requests)
    assert {request.url.path for request in asked} == {"/realm/elsewhere/userinfo"}


async def test_entitlements_are_kept_for_a_while_and_asked_for_once(idp: Idp) -> None:
    idp.users = {"anna": groups("proj:inst")}
    clock = Clock()
    policy = entitled(idp, clock, keep=1800)
    anna = await enter(policy, token())
    answers = await asyncio.gather(*(policy.allows(anna, f"inst.proj.w.{number}") for number in range(20)))
    assert all(answers)
    assert idp.asked["userinfo"] == 1
    idp.users = {"anna": groups("other:inst")}
    clock.now = 1799.9
    assert await policy.allows(anna, "inst.proj.w.1")
    clock.now = 1800  # using them does not make them last longer
    assert not await policy.allows(anna, "inst.proj.w.1")
    assert idp.asked["userinfo"] == 2


async def test_another_token_of_the_same_user_is_asked_for_anew(idp: Idp) -> None:
    idp.users = {"anna": groups("proj:inst")}
    policy = entitled(idp)
    assert await policy.allows(await enter(policy, token()), "inst.proj.w.1")
    idp.users = {}
    assert not await policy.allows(await enter(policy, token(jti="2")), "inst.proj.w.1")


async def test_no_more_users_are_kept_than_allowed(idp: Idp) -> None:
    policy = entitled(idp, size=2)
    people = [await enter(policy, token(sub=name)) for name in ("anna", "ben", "cleo")]
    for principal in people:
        await policy.visible(principal, [])
    await policy.visible(people[2], [])
    assert idp.asked["userinfo"] == 3
    await policy.visible(people[0], [])
    assert idp.asked["userinfo"] == 4


FAILURES: list[int | bytes | Exception] = [
    500, 401, 302, b"", b"[]", b"no json", b"{}", b'{"sub": "ben"}', b'"' + b"x" * MAX_ANSWER + b'"',
    httpx.ConnectError("refused"), TimeoutError(),
]  # fmt: skip


@pytest.mark.parametrize("failure", FAILURES, ids=[repr(failure)[:30] for failure in FAILURES])
async def test_entitlements_that_cannot_be_had_are_none(idp: Idp, failure: int | bytes | Exception) -> None:
    idp.users = {"anna": groups("proj:inst")}
    clock = Clock()
    policy = entitled(idp, clock)
    idp.answers["userinfo"] = failure
    anna = await enter(policy, token())
    for _ in range(3):
        with pytest.raises(Unauthenticated, match=INVALID):
            await policy.allows(anna, "inst.proj.w.1")
    with pytest.raises(Unauthenticated, match=INVALID):
        await policy.visible(anna, ["inst.proj.w.1"])
    assert idp.asked["userinfo"] == 1  # a failing endpoint is not asked for every tile
    idp.answers.clear()
    clock.now += 5
    assert await policy.allows(anna, "inst.proj.w.1")


async def test_a_provider_without_userinfo_says_so(idp: Idp) -> None:
    del idp.described["userinfo_endpoint"]
    policy = entitled(idp)
    with pytest.raises(Unauthenticated, match=INVALID):
        await policy.visible(await enter(policy, token()), [])


async def test_overlong_entitlements_are_passed_over(idp: Idp) -> None:
    idp.users = {"anna": {"eduperson_entitlement": [f"{URN}:group:life:proj:inst:" + "x" * 1000]}}
    policy = entitled(idp)
    assert not await policy.allows(await enter(policy, token()), "inst.proj.w.1")
