"""Policies by name, old names among them, and classes written for WSI-Service."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import Depends, FastAPI, Header, HTTPException, Request

from microtome.auth.base import PUBLIC
from microtome.auth.entitlements import EntitledPolicy, EntitlementOptions
from microtome.auth.integration import HookPolicy, IntegrationOptions, load_policy
from microtome.auth.oidc import OidcOptions, OidcPolicy
from microtome.auth.policy import ANYBODY, ClosedPolicy, OpenPolicy
from microtome.errors import Forbidden, InvalidRequest, Unauthenticated
from tests.unit.auth.idp import AUDIENCE, NOW, URL, Idp, enter, jwk, private_key, token

OLD = "wsi_service.api.v3.integrations."
HERE = __name__


def options(**more: Any) -> IntegrationOptions:
    return IntegrationOptions(oidc=OidcOptions(URL, AUDIENCE), **more)


NAMES = [
    ("", ClosedPolicy),
    ("default:Default", ClosedPolicy),
    ("none", OpenPolicy),
    ("disable_auth:DisableAuth", OpenPolicy),
    ("oidc", OidcPolicy),
    ("empaia:EmpaiaApiIntegration", OidcPolicy),
    ("lsaai_groups", EntitledPolicy),
    ("lsaai_groups:LSAAIIntegration", EntitledPolicy),
    ("lsaai_resources", EntitledPolicy),
    ("lsaai_resources:LSAAIIntegration", EntitledPolicy),
]


@pytest.mark.parametrize(("name", "kind"), [*NAMES, *((OLD + name, kind) for name, kind in NAMES if ":" in name)])
async def test_known_names(name: str, kind: type) -> None:
    policy = load_policy(name, options())
    assert type(policy) is kind
    await policy.aclose()


async def test_without_a_login_everybody_sees_everything() -> None:
    policy = load_policy(OLD + "disable_auth:DisableAuth", IntegrationOptions())
    assert not policy.enabled
    principal = await policy.authenticate({})
    assert principal == ANYBODY
    assert principal.grant == PUBLIC
    assert await policy.allows(principal, "any")
    assert await policy.visible(principal, ["b", "a"]) == ["b", "a"]


async def test_nobody_sees_anything_before_a_login_was_chosen() -> None:
    policy = load_policy("", IntegrationOptions())
    with pytest.raises(Unauthenticated, match=r"^Integration not configured$") as raised:
        await policy.authenticate({"authorization": "Bearer x"})
    assert raised.value.reason == "not_configured"
    assert not await policy.allows(ANYBODY, "any")
    assert await policy.visible(ANYBODY, ["a"]) == []


@pytest.mark.parametrize(
    ("name", "slide_id"), [("lsaai_groups", "inst.proj.w.1"), ("lsaai_resources", "proj.inst.w.1")]
)
async def test_each_rule_has_its_name(name: str, slide_id: str) -> None:
    idp = Idp()
    entitlements = ["urn:x:group:life:proj:inst", "urn:x:group:proj", "urn:x:res:proj:inst"]
    idp.users = {"anna": {"eduperson_entitlement": entitlements}}
    policy = load_policy(name, options(transport=idp.transport, entitlements=EntitlementOptions(f"{URL}/userinfo")))
    anna = await enter(policy, token(exp=NOW * 2, iat=None))
    both = ["inst.proj.w.1", "proj.inst.w.1"]
    assert slide_id in await policy.visible(anna, both)
    assert len(await policy.visible(anna, both)) == 1
    await policy.aclose()


async def test_the_prefix_of_groups_is_handed_on() -> None:
    with pytest.raises(InvalidRequest) as raised:
        load_policy("lsaai_groups", options(group_prefix="("))
    assert raised.value.parameter == "lsaai_regex_prefix"


async def test_a_login_needs_its_provider() -> None:
    with pytest.raises(InvalidRequest) as raised:
        load_policy("oidc", IntegrationOptions())
    assert raised.value.parameter == "idp_url"


def test_cryptography_is_imported_only_for_logins() -> None:
    code = (
        "import sys; from microtome.auth.integration import *; "
        "load_policy('none', IntegrationOptions()); load_policy('', IntegrationOptions()); "
        "assert not {'jwt', 'httpx', 'cryptography'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# --- classes written for WSI-Service, and how the web framework runs their dependency


def resolve(dependency: Callable[..., Any]) -> Callable[[Mapping[str, str]], Awaitable[object]]:
    """Runs a dependency of FastAPI by its public means alone."""
    application = FastAPI(openapi_url=None)
    kept: dict[int, Any] = {}

    @application.get("/")
    async def found(request: Request, payload: Any = Depends(dependency)) -> None:  # noqa: B008
        kept[id(request.scope["asked"])] = payload

    @application.exception_handler(HTTPException)
    async def failed(request: Request, error: Exception) -> None:
        raise error

    async def run(headers: Mapping[str, str]) -> object:
        asked = object()
        raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        scope = {
            "type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": raw, "asked": asked,
        }  # fmt: skip

        async def receive() -> dict[str, Any]:
            return {"type": "http.request"}

        async def send(message: Any) -> None:
            pass

        await application(scope, receive, send)
        return kept.pop(id(asked))

    return run


class Original:
    """As the documentation of WSI-Service shows it."""

    made: list[tuple[Any, Any, Any]] = []  # noqa: RUF012

    def __init__(self, settings: Any, logger: Any, http_client: Any) -> None:
        self.made.append((settings, logger, http_client))

    def global_depends(self) -> Any:
        async def who(request: Request, authorization: str | None = Header(None)) -> dict[str, str]:
            if authorization is None:
                raise HTTPException(403, "Not authenticated")
            if authorization == "expired":
                raise HTTPException(401, "Access Token expired.", {"WWW-Authenticate": 'Bearer error="invalid_token"'})
            if authorization == "teapot":
                raise HTTPException(418, "no")
            return {"user": authorization, "seen": request.headers["x-more"]}

        return Depends(who)

    async def allow_access_slide(
        self, auth_payload: Any, slide_id: str, manager: Any, plugin: Any, slide: Any = None
    ) -> None:
        assert manager == "the manager"
        if slide_id == "gone":
            raise HTTPException(404, "no such slide")
        if slide_id == "stale":
            raise HTTPException(401, "Token or user info endpoint data is invalid!")
        if slide_id == "broken":
            raise ZeroDivisionError
        if not slide_id.startswith(auth_payload["user"]):
            raise HTTPException(403, f"Slide ['{slide_id}'] not available to the user!")


def hooked(name: str, **more: Any) -> HookPolicy:
    policy = load_policy(f"{HERE}:{name}", IntegrationOptions(resolve=resolve, manager="the manager", **more))
    assert isinstance(policy, HookPolicy)
    return policy


async def test_a_class_of_wsi_service_works_unchanged() -> None:
    policy = hooked("Original", settings="the settings")
    settings, logger, client = Original.made[-1]
    assert settings == "the settings"
    assert logger.name == "microtome"
    assert isinstance(client, httpx.AsyncClient)
    anna = await policy.authenticate({"authorization": "anna", "x-more": "1"})
    assert anna.payload == {"user": "anna", "seen": "1"}
    assert anna.grant.private
    assert await policy.allows(anna, "anna-1")
    assert not await policy.allows(anna, "ben-1")
    assert not await policy.allows(anna, "gone")
    assert await policy.visible(anna, ["ben-1", "anna-2", "gone", "anna-1"]) == ["anna-2", "anna-1"]
    await policy.aclose()
    assert client.is_closed


async def test_the_refusals_of_a_class_are_ours() -> None:
    policy = hooked("Original")
    with pytest.raises(Forbidden, match=r"^Not authenticated$"):
        await policy.authenticate({"x-more": "1"})
    with pytest.raises(Unauthenticated, match=r"^Access Token expired\.$") as raised:
        await policy.authenticate({"authorization": "expired", "x-more": "1"})
    assert raised.value.challenge == 'Bearer error="invalid_token"'
    with pytest.raises(HTTPException):
        await policy.authenticate({"authorization": "teapot", "x-more": "1"})
    anna = await policy.authenticate({"authorization": "anna", "x-more": "1"})
    with pytest.raises(Unauthenticated, match=r"^Token or user info endpoint data is invalid!$"):
        await policy.allows(anna, "stale")
    with pytest.raises(ZeroDivisionError):  # a fault of the class allows nothing
        await policy.allows(anna, "broken")


async def test_no_two_principals_of_a_class_are_the_same() -> None:
    policy = hooked("Original")
    people = [await policy.authenticate({"authorization": name, "x-more": "1"}) for name in ("anna", "ben")]
    assert people[0] != people[1]
    assert len({*people}) == 2


class Bare:
    """Needs nothing of the framework."""

    def __init__(self, *_: Any) -> None: ...

    def global_depends(self) -> Any:
        return lambda: "everybody"

    async def allow_access_slide(self, auth_payload: Any, slide_id: str, **_: Any) -> bool:
        return slide_id != "hidden"


class Silent(Bare):
    def global_depends(self) -> Any: ...


async def test_a_dependency_without_parameters_needs_no_framework() -> None:
    policy = load_policy(f"{HERE}:Bare", IntegrationOptions())
    everybody = await policy.authenticate({})
    assert everybody.payload == "everybody"
    assert await policy.visible(everybody, ["hidden", "shown"]) == ["shown"]
    assert (await load_policy(f"{HERE}:Silent", IntegrationOptions()).authenticate({})).payload is None


async def test_a_class_may_be_a_policy_itself() -> None:
    assert isinstance(load_policy(f"{HERE}:Ours", IntegrationOptions()), Ours)


class Ours(OpenPolicy):
    def __init__(self, settings: Any, logger: Any, http_client: Any) -> None: ...


class Failing(Bare):
    def __init__(self, *_: Any) -> None:
        raise ValueError("the password is swordfish")


class Hookless:
    def __init__(self, *_: Any) -> None: ...


class Uncallable(Bare):
    def global_depends(self) -> Any:
        return 7


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nonsense", "none of default:Default, "),
        ("a:b:c", "not of the form module:Class"),
        (":Class", "not of the form module:Class"),
        ("module:", "not of the form module:Class"),
        ("wsi_service.api.v3.integrations.other:Other", "there is no module wsi_service"),
        ("no_such_module_anywhere:Class", "there is no module no_such_module_anywhere"),
        (".relative:Class", "cannot be imported"),
        (f"{HERE}:Missing", "the module has no class Missing"),
        (f"{HERE}:HERE", "the module has no class HERE"),
        (f"{HERE}:Failing", "cannot be made (ValueError)"),
        (f"{HERE}:Hookless", "has no global_depends() and allow_access_slide()"),
        (f"{HERE}:Uncallable", "gives nothing that can be called"),
        (f"{HERE}:Original", "its dependency needs the web framework"),
    ],
)
def test_integrations_that_cannot_be_used_are_named(name: str, said: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        load_policy(name, IntegrationOptions())
    assert raised.value.parameter == "api_v3_integration"
    assert said in raised.value.message
    assert repr(name) in raised.value.message
    assert "swordfish" not in raised.value.message


def test_a_module_that_fails_to_import_is_not_called_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "failing_login.py").write_text("1 / 0")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(InvalidRequest, match=r"cannot be imported \(ZeroDivisionError\)") as raised:
        load_policy("failing_login:Login", IntegrationOptions())
    assert isinstance(raised.value.__cause__, ZeroDivisionError)


async def test_keys_of_the_right_provider_are_used() -> None:
    idp = Idp()
    idp.keys = [jwk(private_key("P-256"), "one")]
    policy = load_policy("oidc", options(transport=idp.transport))
    assert (await enter(policy, token(private_key("P-256"), "ES256", exp=NOW * 2, iat=None))).subject == "anna"
    await policy.aclose()
