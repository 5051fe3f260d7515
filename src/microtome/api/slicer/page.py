"""``/scene``: the page of the scene. It holds nothing of it; what it shows it asks the safe API for."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from microtome.api import conditional

PAGE = "/scene"


def page_route(page: Callable[[], str], policy: str) -> Route:
    """The page under its Content-Security-Policy."""

    async def scene(request: Request) -> Response:
        """Four views, and what is in the scene."""
        body = page().encode()
        headers = {
            "etag": f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"',
            "cache-control": "no-cache",
            "content-security-policy": policy,
            "referrer-policy": "same-origin",
            "x-content-type-options": "nosniff",
        }
        if conditional.matches(conditional.asked(request.scope), headers["etag"].encode()):
            return Response(status_code=304, headers=headers)
        return Response(body, headers={**headers, "content-type": "text/html; charset=utf-8"})

    return Route(PAGE, scene, methods=["GET"])
