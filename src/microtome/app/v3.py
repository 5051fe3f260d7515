"""The v3 API over the services: which mapper, which login."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.metadata import version

from microtome.api.cors import Cors
from microtome.api.docs import Docs
from microtome.api.wsi_v3 import (
    KnownRecords,
    Limits,
    PageOptions,
    SignedPolicy,
    TokenPolicy,
    V3Context,
    V3Express,
)
from microtome.app.services import Services
from microtome.auth.base import Authenticator
from microtome.auth.entitlements import EntitlementOptions
from microtome.auth.integration import IntegrationOptions, load_policy
from microtome.auth.oidc import OidcOptions
from microtome.auth.policy import AccessPolicy
from microtome.caching import Late
from microtome.catalog.base import Case, MappedSlide, Mapper
from microtome.catalog.choose import open_mapper
from microtome.settings import Settings
from microtome.tiles.pictures import PictureService
from microtome.viewer import pages


class LateMapper:
    """The mapper of the settings, opened when it is first asked, because that may need the store."""

    def __init__(self, settings: Settings, services: Services) -> None:
        self._settings = settings
        self._services = services
        self._late = Late(self._open)

    async def open(self) -> Mapper:
        """The mapper. Raises InvalidRequest for settings that name none."""
        return await self._late.get()

    async def _open(self) -> Mapper:
        settings = self._settings
        remote = settings.mapper_address if settings.local_mode is None else None
        return await open_mapper(
            settings.local_mode or ("" if remote else "paths"),
            store=self._services.store,
            kinds=self._services.kinds,
            data_dir=settings.data or "",
            mapper_address=remote or "",
            variables={**os.environ, **_table_variables(settings)},
        )

    async def cases(self, context: str | None) -> Sequence[Case]:
        """See ``catalog.base.Mapper``."""
        return await (await self.open()).cases(context)

    async def slides(self, case_id: str) -> Sequence[MappedSlide]:
        """See ``catalog.base.Mapper``."""
        return await (await self.open()).slides(case_id)

    async def slide(self, slide_id: str) -> MappedSlide:
        """See ``catalog.base.Mapper``."""
        return await (await self.open()).slide(slide_id)

    async def refresh(self) -> None:
        """See ``catalog.base.Mapper``."""
        await (await self.open()).refresh()

    async def close(self) -> None:
        """See ``catalog.base.Mapper``."""
        if (mapper := self._late.at_hand()) is not None:
            await mapper.close()


def open_policy(settings: Settings) -> AccessPolicy | None:
    """The login of the settings; None when v3 is as open as the rest of the server.

    A server that is configured like the original (a mapper is named) and names no login refuses everybody, as that one
    does. Raises InvalidRequest for a login that cannot be used.
    """
    if settings.integration is None and settings.local_mode is None and settings.mapper_address is None:
        return None
    oidc = OidcOptions(
        idp_url=settings.idp_url or "",
        audience=settings.audience or "",
        rewrite_url=settings.rewrite_wellknown or "",
        refresh_interval=settings.refresh_interval,
        acr=settings.check_acr or "",
        timeout=settings.provider_timeout,
    )
    entitlements = EntitlementOptions(
        endpoint=settings.userinfo_endpoint or "",
        keep=settings.userinfo_seconds,
        size=settings.userinfo_users,
        timeout=settings.provider_timeout,
    )
    return load_policy(
        settings.integration or "",
        IntegrationOptions(oidc, entitlements, group_prefix=settings.group_prefix, settings=settings),
    )


def v3_context(
    settings: Settings, services: Services, auth: Authenticator, policy: AccessPolicy | None, mapper: Mapper
) -> V3Context:
    """What the family needs. Where nobody logs in, its tiles take the short way, too."""
    known = KnownRecords()

    def plugins() -> Sequence[tuple[str, str, int]]:
        found = services.formats
        return [(each.name, version("microtome"), found.priorities[each.name]) for each in found.formats]

    context = V3Context(
        pictures=PictureService(services.tiles, region_pixels=settings.v3_region_pixels),
        mapper=mapper,
        policy=SignedPolicy(auth) if policy is None else TokenPolicy(policy),
        store=services.store,
        limits=Limits(settings.v3_region_pixels, settings.v3_thumbnail_side),
        padding=settings.padding_color,
        pad_tiles=settings.pad_tiles,
        cache_max_age=settings.cache_max_age,
        local_routes=settings.local_routes,
        title=settings.title,
        description=settings.description,
        version=settings.api_version or version("microtome"),
        plugins=plugins,
        known=known.learn,
    )
    if not context.policy.private():
        cors = Cors(settings.cors_origins, credentials=settings.cors_credentials)
        services.express.add(V3Express(context, cors, known))
    return context


def documentation(settings: Settings, *, private: bool) -> Docs | None:
    """The pages about the routes; None where there are none."""
    if settings.disable_openapi or not settings.pages:
        return None
    return Docs(
        pages,
        settings.title,
        tuple(
            (path, title)
            for path, title, there in (
                ("", "Server", True),
                ("/v3", "WSI-Service v3", settings.v3_api),
                ("/scene/v1", "Scene", settings.serves_scene_api),
            )
            if there
        ),
        frame_ancestors=settings.frame_ancestors,
        root_path=settings.root_path,
        version=version("microtome"),
        private=private,
    )


def page_options(settings: Settings, auth: Authenticator, docs: Docs | None) -> PageOptions:
    """Which pages the family shows."""
    shown = settings.pages and settings.viewer_routes
    return PageOptions(
        pages,
        auth,
        validation=shown,
        viewer=shown and settings.slides_api,
        schema=not settings.disable_openapi,
        docs=docs,
        token_url=settings.openapi_token_url,
        login_url=settings.openapi_auth_url,
        frame_ancestors=settings.frame_ancestors,
        root_path=settings.root_path,
        version=version("microtome"),
    )


def _table_variables(settings: Settings) -> dict[str, str]:
    found = {
        "CSWS_SOURCE": settings.table_source,
        "CSWS_SEPARATOR": settings.table_separator,
        "CSWS_GROUP_1": str(settings.table_group_1),
        "CSWS_GROUP_2": str(settings.table_group_2),
        "CSWS_SLIDE_ID": str(settings.table_slide_id),
        "CSWS_CASE_ID": str(settings.table_case_id),
        "CSWS_PATH": str(settings.table_path),
        "WSIT_INSTITUTION_PATTERN": settings.institution_pattern,
        "WSIT_PROJECT_PATTERN": settings.project_pattern,
    }
    return {name: value for name, value in found.items() if value is not None}
