"""Behind a proxy that shows the server under a path: the same requests, whether the proxy cuts that path off or not."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send


class RootPath:
    """ASGI middleware: ``path`` and ``raw_path`` begin with ``root_path``, as ASGI and mounted applications have it.

    ``root_path`` begins with ``/`` and does not end with one; "" changes nothing.
    """

    def __init__(self, app: ASGIApp, root_path: str) -> None:
        self.app = app
        self._root = root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on the request."""
        if self._root and scope["type"] == "http":
            path: str = scope["path"]
            raw: bytes = scope.get("raw_path") or path.encode()
            scope = {**scope, "root_path": self._root}
            if path != self._root and not path.startswith(f"{self._root}/"):
                scope |= {"path": self._root + path, "raw_path": self._root.encode() + raw}
        await self.app(scope, receive, send)
