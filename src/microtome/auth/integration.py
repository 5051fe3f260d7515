"""How to log in, by name: ``module:Class`` as ``WS_API_V3_INTEGRATION`` gives it, or a short name of ours.

===================  ================================  =====================================
short name           name in WSI-Service               who sees what
===================  ================================  =====================================
(empty)              (empty), default:Default          nobody sees anything
``none``             disable_auth:DisableAuth          everybody sees everything
``oidc``             empaia:EmpaiaApiIntegration       who has a valid token, everything
``lsaai_groups``     lsaai_groups:LSAAIIntegration     by groups of the user
``lsaai_resources``  lsaai_resources:LSAAIIntegration  by groups and resources of the user
===================  ================================  =====================================

The names of WSI-Service are taken with and without ``wsi_service.api.v3.integrations.`` before them.
Any other class is imported and made once with ``(settings, logger, http_client)``. It either is an ``AccessPolicy``
itself, or has the two hooks of WSI-Service: ``global_depends()``, a dependency of the web framework whose result is the
*auth payload*, and ``async allow_access_slide(auth_payload, slide_id, manager, plugin, slide=None)``, which raises to
forbid.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, cast

from microtome.auth.policy import AccessPolicy, ClosedPolicy, OpenPolicy, Principal, refused
from microtome.errors import Forbidden, InvalidRequest, Unauthenticated
from microtome.telemetry import logger

if TYPE_CHECKING:
    import httpx

    from microtome.auth.entitlements import EntitlementOptions
    from microtome.auth.oidc import OidcOptions

_PREFIX = "wsi_service.api.v3.integrations."
_NAMES = {
    "": "closed",
    "none": "none",
    "oidc": "oidc",
    "lsaai_groups": "lsaai_groups",
    "lsaai_resources": "lsaai_resources",
    "default:Default": "closed",
    "disable_auth:DisableAuth": "none",
    "empaia:EmpaiaApiIntegration": "oidc",
    "lsaai_groups:LSAAIIntegration": "lsaai_groups",
    "lsaai_resources:LSAAIIntegration": "lsaai_resources",
}
PARAMETER = "api_v3_integration"

Resolve = Callable[[Callable[..., Any]], Callable[[Mapping[str, str]], Awaitable[object]]]
"""Makes of a dependency of the web framework a function from the headers of a request to its result. Only the rooms
that know the framework can."""


class Hooks(Protocol):
    """A class written for WSI-Service."""

    def global_depends(self) -> Any:
        """A dependency of the web framework; its result is the auth payload."""
        ...

    def allow_access_slide(
        self, auth_payload: Any, slide_id: str, manager: Any, plugin: str | None, slide: Any = None
    ) -> Any:
        """Awaited; raises to forbid."""
        ...


@dataclass(frozen=True, slots=True)
class IntegrationOptions:
    """What the integrations need; those of other integrations are not looked at.

    ``settings``, ``manager`` are handed to classes written for WSI-Service as they are. ``resolve`` runs their
    dependency; without it only one without parameters can be run.
    """

    oidc: OidcOptions | None = None
    entitlements: EntitlementOptions | None = None
    group_prefix: str = ""
    settings: object = None
    manager: object = None
    resolve: Resolve | None = None
    transport: httpx.AsyncBaseTransport | None = field(default=None, repr=False)


def load_policy(name: str, options: IntegrationOptions) -> AccessPolicy:
    """The policy called ``name``. The caller closes it.

    Raises InvalidRequest(parameter="api_v3_integration") for a name or class that cannot be used, and
    InvalidRequest for options that are missing or wrong.
    """
    known = _NAMES.get(name.strip().removeprefix(_PREFIX))
    match known:
        case "closed":
            return ClosedPolicy()
        case "none":
            return OpenPolicy()
        case "oidc" | "lsaai_groups" | "lsaai_resources":
            return _login(known, options)
        case _:
            return _foreign(name.strip(), options)


def _login(name: str, options: IntegrationOptions) -> AccessPolicy:
    # Cryptography and the HTTP client take their time to import; a server without logins does without them.
    from microtome.auth.entitlements import DEFAULT_PREFIX, EntitledPolicy, group_rule, resource_rule
    from microtome.auth.oidc import OidcOptions, OidcPolicy
    from microtome.auth.provider import open_client

    checked = (options.oidc or OidcOptions("", "")).check()
    rule = group_rule(options.group_prefix or DEFAULT_PREFIX) if name == "lsaai_groups" else resource_rule
    login = OidcPolicy(checked, open_client(options.transport))
    return login if name == "oidc" else EntitledPolicy(login, rule, options.entitlements)


def _foreign(name: str, options: IntegrationOptions) -> AccessPolicy:
    from microtome.auth.provider import open_client

    found = _import(name)
    client = open_client(options.transport)
    try:
        made: object = found(options.settings, logger, client)
    except Exception as error:
        # The message of a foreign error may hold secrets; the cause is kept for the log.
        raise _unusable(name, f"it cannot be made ({type(error).__name__})") from error
    if all(callable(getattr(made, method, None)) for method in ("authenticate", "allows", "visible", "aclose")):
        return cast("AccessPolicy", made)
    if not all(callable(getattr(made, method, None)) for method in ("global_depends", "allow_access_slide")):
        raise _unusable(name, "it has no global_depends() and allow_access_slide()")
    return HookPolicy(cast("Hooks", made), client, name=name, manager=options.manager, resolve=options.resolve)


def _import(name: str) -> Callable[..., object]:
    module, colon, attribute = name.partition(":")
    if not (module and colon and attribute.isidentifier()):
        raise _unusable(name, f"it is none of {', '.join(sorted(_NAMES)[1:])} and not of the form module:Class")
    try:
        found: object = getattr(importlib.import_module(module), attribute, None)
    except Exception as error:
        missing = f"there is no module {error.name}" if isinstance(error, ModuleNotFoundError) else type(error).__name__
        raise _unusable(name, f"it cannot be imported ({missing})") from error
    if not callable(found):
        raise _unusable(name, f"the module has no class {attribute}")
    return found


def _unusable(name: str, reason: str) -> InvalidRequest:
    return InvalidRequest(f"Integration {name!r} cannot be used: {reason} (WS_API_V3_INTEGRATION)", parameter=PARAMETER)


class HookPolicy:
    """A class with the two hooks of WSI-Service as an AccessPolicy.

    ``dependency`` is what ``global_depends()`` gave, None when it gave nothing: a room that knows the framework may run
    it with the whole request and make the principal with ``principal()``; ``authenticate`` runs it with the headers
    alone. The hooks raise errors of the framework; they are known by their ``status_code`` and ``detail``.
    """

    enabled = True

    def __init__(
        self,
        hooks: Hooks,
        client: httpx.AsyncClient,
        *,
        name: str = "",
        manager: object = None,
        resolve: Resolve | None = None,
    ) -> None:
        self._hooks = hooks
        self._client = client
        self._manager = manager
        given = hooks.global_depends()
        # The original hands out Depends(function), whose function this is.
        self.dependency: Callable[..., Any] | None = getattr(given, "dependency", given)
        if self.dependency is not None and not callable(self.dependency):
            raise _unusable(name, "global_depends() gives nothing that can be called")
        if resolve is None and self.dependency is not None and inspect.signature(self.dependency).parameters:
            raise _unusable(name, "its dependency needs the web framework")
        self._run = None if self.dependency is None else (resolve or _bare)(self.dependency)

    @staticmethod
    def principal(payload: object) -> Principal:
        """Who ``payload``, the result of the dependency, is. No two are the same: what they share is unknown."""
        return Principal(token=secrets.token_hex(16), payload=payload)

    async def authenticate(self, headers: Mapping[str, str]) -> Principal:
        """What the dependency finds. Raises Unauthenticated where it raises status 401, Forbidden for 403."""
        if self._run is None:
            return self.principal(None)
        try:
            return self.principal(await self._run(headers))
        except Exception as error:
            translated = _translated(error)
            if translated is None:
                raise
            raise translated from error

    async def allows(self, principal: Principal, slide_id: str) -> bool:
        """False where the hook raises status 403 or 404. Raises Unauthenticated where it raises 401."""
        try:
            answer = self._hooks.allow_access_slide(
                auth_payload=principal.payload, slide_id=slide_id, manager=self._manager, plugin=None, slide=None
            )
            if inspect.isawaitable(answer):
                answer = await answer
        except Exception as error:
            translated = _translated(error)
            if isinstance(translated, Unauthenticated):
                raise translated from error
            if translated is None and getattr(error, "status_code", None) != 404:
                raise
            return False
        return answer is not False

    async def visible(self, principal: Principal, ids: Iterable[str]) -> list[str]:
        """Those the hook does not forbid, asked one after the other."""
        return [slide_id for slide_id in ids if await self.allows(principal, slide_id)]

    async def aclose(self) -> None:
        """End the connections of the client that the class was given."""
        await self._client.aclose()


def _bare(dependency: Callable[..., Any]) -> Callable[[Mapping[str, str]], Awaitable[object]]:
    async def run(headers: Mapping[str, str]) -> object:
        # As the framework does: a function that cannot wait may block, and gets a thread.
        found = dependency() if inspect.iscoroutinefunction(dependency) else await asyncio.to_thread(dependency)
        return await found if inspect.isawaitable(found) else found

    return run


def _translated(error: Exception) -> Unauthenticated | Forbidden | None:
    status, detail = getattr(error, "status_code", None), str(getattr(error, "detail", ""))
    if status == 401:
        made = refused(detail or "Not authenticated", "refused", error="")
        headers = cast("Mapping[str, str]", getattr(error, "headers", None) or {})
        own = [value for name, value in headers.items() if name.lower() == "www-authenticate"]
        return Unauthenticated(made.message, reason=made.reason, challenge=own[0] if own else made.challenge)
    return Forbidden(detail or "Forbidden") if status == 403 else None
