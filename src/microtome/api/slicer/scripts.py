"""``/slicer/exec``: Python of clients that hold the token, where the operator wants it."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import unquote

from starlette.requests import Request
from starlette.responses import Response

from microtome.api.slicer.context import JSON, SMALL_BODY, Asked, SlicerContext, body_of
from microtome.api.slicer.guard import TOKEN
from microtome.errors import Forbidden, InvalidRequest, Unauthenticated
from microtome.scene.calls.scripts import Execute, Executed

_FORWARDED = {"forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"}
"""Headers of proxies: what comes from this machine with one of them comes from elsewhere."""
MARGIN_SECONDS = 20.0
"""For other questions before it, and until a script that does not stop has been ended."""


async def execute(context: SlicerContext, asked: Asked) -> Response:
    """Run Python in the scene: the body, else ``source``. Answers ``__execResult`` as JSON."""
    if context.exec_seconds <= 0:
        raise InvalidRequest(
            f'unknown command "{("/exec" + asked.rest).encode()[:200]!r}": scripts are not run here; the operator'
            " turns them on with --scene-exec and --scene-token",
            parameter="path",
        )
    check(context, asked.request)
    body = await asked.body()
    try:
        source = body.decode() if body else unquote(asked.query.get("source", ""))
    except UnicodeDecodeError as error:
        raise InvalidRequest("The script is not UTF-8", parameter="source") from error
    if not source:
        return Response(status_code=404)
    found = await run(context, source)
    return Response(found.result.encode(), headers={"content-type": JSON, "cache-control": "no-cache"})


def check(context: SlicerContext, request: Request) -> None:
    """Who may run scripts: who has the token, and has sent it where nobody else can read it.

    Raises Forbidden where none are run and for connections that others may hear, Unauthenticated.
    """
    if context.exec_seconds <= 0:
        raise Forbidden("Scripts are not run here; the operator turns them on with --scene-exec and --scene-token")
    if not request.scope.get(TOKEN):
        raise Unauthenticated(
            "Scripts need the token of the scene: Authorization: Bearer TOKEN, or X-Scene-Token: TOKEN",
            reason="missing_token",
            challenge="Bearer",
        )
    address = context.proxies.origin(request.scope, "")
    if not address.startswith("https://") and (not _is_loopback(request) or _FORWARDED & set(request.headers)):
        raise Forbidden("Scripts are taken over TLS only, or from this machine: the token could be read on the way")


async def run(context: SlicerContext, source: str) -> Executed:
    """Run a script. Raises as ``calls.scripts.Execute``; LimitExceeded for one that is too long."""
    return await context.scene.ask(Execute(source=source), seconds=context.exec_seconds + MARGIN_SECONDS)


async def script(context: SlicerContext, request: Request) -> Executed:
    """``POST /scene/v1/exec``: the body is the script; what it left and printed."""
    check(context, request)
    try:
        source = (await body_of(request, SMALL_BODY)).decode()
    except UnicodeDecodeError as error:
        raise InvalidRequest("The script is not UTF-8", parameter="source") from error
    return await run(context, source)


def _is_loopback(request: Request) -> bool:
    try:
        return request.client is not None and ip_address(request.client.host).is_loopback
    except ValueError:
        return False
