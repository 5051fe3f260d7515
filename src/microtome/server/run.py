"""One serving process: uvicorn with the express lane, graceful from the first request to the last."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import uvicorn

from microtome.api.express.prepared import Express
from microtome.api.express.protocol import express_protocol
from microtome.app import create_app
from microtome.server.memory import keep_freed_memory
from microtome.settings import Settings
from microtome.telemetry import logger

BACKLOG = 2048
LAST_PORT = 65535
BACKLOG_SECONDS = 0.1
"""How long connections are still taken after the end was asked for."""
STOP_SECONDS = 0.3
"""How long a stopping server waits for a request on an open connection before it closes it."""
HURRY_SECONDS = 3.0
"""How long the application may take to end after a second SIGTERM or SIGINT."""
DRAIN_SECONDS = 2.0
"""The same for a worker that has a successor: its clients are asked to come back, and find the new one."""


class Server(uvicorn.Server):
    """uvicorn's server, telling when it is ready and draining before it closes idle connections."""

    def __init__(self, config: uvicorn.Config, express: Express, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._express = express
        self._ready = ready
        self.drain = STOP_SECONDS
        """Seconds for which requests on open connections are still answered after the end was asked for."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen, then tell so."""
        await super().startup(sockets)
        if self.started:
            # What was built until now stays: the collector need not look at it again, which takes 40 ms each time.
            gc.collect()
            gc.freeze()
            self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Answer what has been sent, take no new connections, then let requests in flight finish.

        From the first moment every answer asks its client to close. Connections that wait in the backlog are still
        taken for a moment: their requests may have been sent already.
        """
        loop = asyncio.get_running_loop()
        self._express.draining = True
        await asyncio.sleep(BACKLOG_SECONDS)
        for server in self.servers:
            server.close()
        for listening in sockets or []:
            listening.close()
        await self._drained(loop.time() + self.drain)
        await super().shutdown(None)
        if self.force_exit:
            # uvicorn leaves out the end of the application then; its threads and child processes would stay behind.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.lifespan.shutdown(), HURRY_SECONDS)

    async def _drained(self, end: float) -> None:
        loop = asyncio.get_running_loop()
        while self.server_state.connections and loop.time() < end and not self.force_exit:
            # uvicorn tells nobody when a connection ends
            await asyncio.sleep(0.02)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """SIGTERM and SIGINT: finish. A second one does not wait."""
        if self.should_exit:
            self.force_exit = True
        self.should_exit = True


def build(settings: Settings, ready: Callable[[], None], *, shared_cache: Path | None = None) -> Server:
    """The server of one process."""
    keep_freed_memory()
    app = create_app(settings, shared_cache=shared_cache)
    express: Express = app.state.express
    config = uvicorn.Config(
        app,
        http=express_protocol(express, app.state.request_log),
        loop="uvloop",
        lifespan="on",
        ws="websockets-sansio" if settings.serves_scene_api else "none",
        ws_max_size=1 << 20,
        ws_per_message_deflate=False,
        log_config=None,
        access_log=False,  # ours tells of express answers, too, and of no secrets
        server_header=False,
        date_header=True,
        proxy_headers=False,
        timeout_keep_alive=max(1, int(settings.keep_alive)),
        timeout_graceful_shutdown=max(1, int(settings.shutdown_timeout)),
        backlog=BACKLOG,
        h11_max_incomplete_event_size=None,
    )
    if not config.loaded:
        config.load()
    return Server(config, express, ready)


def listen(settings: Settings) -> socket.socket:
    """A listening socket, on the next free port where that is looked for.

    Raises OSError when the address is taken or not ours.
    """
    port = settings.port
    while True:
        try:
            return _bound(settings.host, port)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or not settings.port_search or not 0 < port < LAST_PORT:
                raise
            port += 1


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(BACKLOG)
    except OSError:
        listening.close()
        raise
    listening.settimeout(0)
    os.set_inheritable(listening.fileno(), True)  # noqa: FBT003
    return listening


def address(listening: socket.socket) -> str:
    """The URL of a listening socket."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def announce(settings: Settings, listening: socket.socket) -> None:
    """Tell where the server is; on standard output, so that scripts can read it."""
    sys.stdout.write(f"microtome serving {settings.data} at {address(listening)}\n")
    if settings.serves_scene_api and settings.pages:
        sys.stdout.write(f"the scene is at {address(listening)}scene\n")
    sys.stdout.flush()


def warn_if_open(settings: Settings) -> None:
    """Everybody who reaches the address would see every slide: say so."""
    if settings.host not in {"127.0.0.1", "::1", "localhost"} and not settings.auth_enabled:
        logger.warning(
            "Listening on %s without authentication: everybody who can reach this address sees every slide."
            " Use --auth-enabled with --auth-secret, or put a proxy with a login before it",
            settings.host,
        )


def serve(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT; the exit status."""
    warn_if_open(settings)
    logging.getLogger("uvicorn.error").setLevel(logging.INFO if settings.verbose else logging.WARNING)
    listening = listen(settings)
    if settings.workers > 1:
        from microtome.server.workers import Supervisor  # a parent never imports what serves

        return Supervisor(settings, listening, ready=lambda: announce(settings, listening)).run()
    server = build(settings, lambda: announce(settings, listening))
    with uvloop_signals(server):
        server.run(sockets=[listening])
    return 0 if server.started else 1


class uvloop_signals:  # noqa: N801 - used like a function
    """SIGHUP without workers has no successor to hand over to: it is ignored, with a word."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def __enter__(self) -> None:
        self._before = signal.signal(signal.SIGHUP, self._told)

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGHUP, self._before)

    def _told(self, *_: object) -> None:
        logger.warning("SIGHUP is ignored: one process cannot replace itself; use --workers 2 or more")
