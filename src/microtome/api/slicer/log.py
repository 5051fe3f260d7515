"""``GET /scene/v1/log``: the last requests to the server, which the process of the scene knows nothing of."""

from __future__ import annotations

from typing import Annotated

import msgspec
from starlette.requests import Request

from microtome.api.login import check_admin
from microtome.api.requestlog import LoggedRequest
from microtome.api.slicer.context import SlicerContext
from microtome.errors import NotFound
from microtome.scene.calls.base import Call


class RequestList(msgspec.Struct, frozen=True, kw_only=True):
    """The last requests, the newest first."""

    requests: list[LoggedRequest]


class GetRequests(Call[RequestList], frozen=True, kw_only=True):
    """The last requests that were answered, of all families and all processes of the server.

    The newest first, at most ``limit``; without secrets, and without those to this address. They are kept where the
    operator says so (request_log_kept). With a login, administrators alone see them: paths tell who looks at what.
    """

    limit: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 200


async def requests_of(context: SlicerContext, request: Request, asked: GetRequests) -> RequestList:
    """Answer it. Raises NotFound where none are kept, Forbidden."""
    if context.log is None:
        raise NotFound("log", "", "No requests are kept here; the operator turns that on with --request-log-kept 500")
    if context.admins is not None:
        check_admin(request, context.admins)
    return RequestList(requests=await context.log.last(asked.limit))
