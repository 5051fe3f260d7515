"""Who may see which slide by the entitlements of LifeScience Login (LSAAI): rules on ids with dots.

Ids are ``group1.group2.w.name`` for slides and ``group1.group2.c.name`` for cases, as the CSV and Iterator mappers make
them; ``group1`` is an institution, ``group2`` a project. ``group1.w.name`` belongs to an institution, ``w.name`` to
everybody who has logged in. Entitlements are URNs (AARC-G069 for groups, AARC-G027 for resources) that the provider
tells of a user at its userinfo endpoint.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Protocol, cast

from microtome.auth.oidc import OidcPolicy
from microtome.auth.policy import Principal, refused
from microtome.auth.provider import ProviderFailed, fetch_json
from microtome.caching import Cache
from microtome.errors import InvalidRequest, Unauthenticated
from microtome.telemetry import logger

DEFAULT_PREFIX = r".*?:group:[^:]+"
_CLAIM = "eduperson_entitlement"
_LONGEST_ENTITLEMENT = 1000
_FAILURE_SECONDS = 5
_NO_SCHEME = re.compile(r"[/\\>]")


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose slide it is, read from its id. Empty parts belong to nobody in particular; ``public``: to everybody."""

    institution: str = ""
    project: str = ""
    public: bool = False


def owner_of(slide_id: str) -> Owner | None:
    """The owner that an id names; None when it is not made by the rule, so that no rule can allow it.

    A path such as ``case/a.tiff`` has a dot by chance and names no owner.
    """
    parts = slide_id.split(".")
    if _NO_SCHEME.search(slide_id):
        return None
    match parts:
        case [institution, project, _, _]:
            return Owner(institution, project)
        case [institution, _, _]:
            return Owner(institution)
        case [_, _]:
            return Owner(public=True)
        case _:
            return None


class Rights(Protocol):
    """What one user's entitlements come to."""

    def allow(self, owner: Owner) -> bool:
        """May they see what belongs to ``owner``, who is not everybody?"""
        ...


Rule = Callable[[Sequence[str]], Rights]
"""Makes rights of a user's entitlements."""


@dataclass(frozen=True, slots=True)
class GroupRights:
    """Institutions by project, as group memberships name them."""

    projects: Mapping[str, frozenset[str]]

    def allow(self, owner: Owner) -> bool:
        """A project must be theirs, and the institution one they are in it for. Empty parts ask for nothing, but an
        institution without a project is nobody's.
        """
        if not owner.project:
            return not owner.institution
        institutions = self.projects.get(owner.project)
        return institutions is not None and (not owner.institution or owner.institution in institutions)


def group_rule(prefix: str = DEFAULT_PREFIX) -> Rule:
    """Rights by groups ``<prefix>:<project>:<institution>:<rights>#<authority>``; ``prefix`` is a regular expression.

    Raises InvalidRequest(parameter="lsaai_regex_prefix") when it is none.
    """
    try:
        # The prefix may hold groups and alternatives of its own.
        pattern = re.compile(rf"(?:{prefix}):?(?P<names_of_group>[^#\n]*)")
    except re.error as error:
        raise InvalidRequest(
            f"The prefix of group entitlements is no regular expression: {error} (WS_LSAAI_REGEX_PREFIX)",
            parameter="lsaai_regex_prefix",
        ) from error

    def rule(entitlements: Sequence[str]) -> GroupRights:
        projects: dict[str, set[str]] = {}
        for entitlement in entitlements:
            found = pattern.match(entitlement.partition("#")[0])  # no authority is taken for a group
            project, _, rest = found["names_of_group"].partition(":") if found else ("", "", "")
            if project:
                projects.setdefault(project, set()).add(rest.partition(":")[0])
        return GroupRights({project: frozenset(names) for project, names in projects.items()})

    return rule


@dataclass(frozen=True, slots=True)
class ResourceRights:
    """Projects by institution."""

    institutions: Mapping[str, frozenset[str]]

    def allow(self, owner: Owner) -> bool:
        """The institution must be theirs; so must the project, if there is one."""
        projects = self.institutions.get(owner.institution)
        return projects is not None and (not owner.project or owner.project in projects)


def resource_rule(entitlements: Sequence[str]) -> ResourceRights:
    """Rights by ``...:group:...:<institution>#...`` and ``...:res:<institution>:<project>#...``, in any order.

    A resource counts only for a member of its institution.
    """
    names = [entitlement.partition("#")[0] for entitlement in entitlements]
    institutions: dict[str, set[str]] = {}
    for name in names:
        _, group, members = name.partition(":group:")
        institution = members.rpartition(":")[2]
        if group and institution:
            institutions.setdefault(institution, set())
    for name in names:
        _, _, resource = name.partition(":res:")
        institution, _, rest = resource.partition(":")
        project = rest.partition(":")[0]
        if project and institution in institutions:
            institutions[institution].add(project)
    return ResourceRights({name: frozenset(projects) for name, projects in institutions.items()})


@dataclass(frozen=True, slots=True)
class EntitlementOptions:
    """Where entitlements come from. ``endpoint``: the URL of userinfo; empty, the one the provider names.

    What was found for a user holds for ``keep`` s or as long as they use the same token; ``size`` users at most.
    """

    endpoint: str = ""
    keep: float = 1800
    size: int = 999
    timeout: float = 8


class EntitledPolicy:
    """A valid token, and slides by the entitlements of its user."""

    enabled = True

    def __init__(
        self,
        login: OidcPolicy,
        rule: Rule,
        options: EntitlementOptions | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._login = login
        self._rule = rule
        self._options = options or EntitlementOptions()
        self._clock = clock
        self._kept: Cache[tuple[str, bytes], _Kept] = Cache(self._options.size, weigh=lambda _: 1, overhead=0)

    async def authenticate(self, headers: Mapping[str, str]) -> Principal:
        """Whose token it is. Raises Unauthenticated, also for a token that names nobody."""
        principal = await self._login.authenticate(headers)
        if not principal.subject:
            raise _invalid()
        return principal

    async def allows(self, principal: Principal, slide_id: str) -> bool:
        """By the rule. Raises Unauthenticated when the entitlements cannot be had."""
        owner = owner_of(slide_id)
        if owner is None or owner.public:
            return owner is not None
        return (await self._rights(principal)).allow(owner)

    async def visible(self, principal: Principal, ids: Iterable[str]) -> list[str]:
        """Those the rule allows. Raises Unauthenticated when the entitlements cannot be had."""
        rights = await self._rights(principal)
        owned = ((slide_id, owner_of(slide_id)) for slide_id in ids)
        return [slide_id for slide_id, owner in owned if owner is not None and (owner.public or rights.allow(owner))]

    async def aclose(self) -> None:
        """End connections and work in the background."""
        await self._login.aclose()

    async def _rights(self, principal: Principal) -> Rights:
        # The token is part of the key: another token of the same user, or of another, never finds what this one did.
        key = (principal.subject, sha256(principal.token.encode()).digest())
        kept = self._kept.get(key)
        if kept is not None and kept.until <= self._clock():
            self._kept.pop(key)
        found = await self._kept.get_or_compute(key, lambda: self._ask(principal))
        if found.rights is None:
            raise _invalid()
        return found.rights

    async def _ask(self, principal: Principal) -> _Kept:
        try:
            endpoint = self._options.endpoint or (await self._login.provider.facts()).userinfo_endpoint
            if not endpoint:
                raise ProviderFailed("it has no userinfo endpoint (WS_USER_INFO_ENDPOINT)")
            known = await fetch_json(self._login.client, endpoint, within=self._options.timeout, token=principal.token)
            if known.get("sub") != principal.subject:  # OpenID Connect Core §5.3.2
                raise ProviderFailed("it told of another user")
        except (ProviderFailed, Unauthenticated) as error:
            logger.warning("The entitlements of a user cannot be had: %s", error)
            return _Kept(self._clock() + _FAILURE_SECONDS, None)
        return _Kept(self._clock() + self._options.keep, self._rule(_entitlements(known)))


@dataclass(frozen=True, slots=True)
class _Kept:
    until: float
    rights: Rights | None


def _entitlements(known: Mapping[str, object]) -> list[str]:
    """The entitlements of a userinfo answer, which is one text or a list; a user may have none."""
    found = known.get(_CLAIM, [])
    listed = cast("list[object]", found) if isinstance(found, list) else [found]
    return [each for each in listed if isinstance(each, str) and len(each) <= _LONGEST_ENTITLEMENT]


def _invalid() -> Unauthenticated:
    return refused("Token or user info endpoint data is invalid!", "invalid_userinfo")
