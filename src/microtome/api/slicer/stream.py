"""``/scene/v1/views/{view}/stream``: a view (``Red``, ``3D``, ``3D-2``) as a stream of pictures over a websocket.

The client sends JSON objects: fields of a move (of ``MoveSlice`` or ``TurnCamera``), and ``size``, ``overlay``,
``quality``, ``format``. Every message asks for a picture; of several that wait, the last one counts, with the moves of
all. Pictures that move come as JPEG of low quality, slices with down to half of the pixels each way, volumes in 3D with
half of the rays; when nothing was asked for a moment, a still one of full size and quality follows. A picture is a text
message (JSON: ``kind``, ``media_type``, ``width``, ``height``, ``number`` of the message it answers, ``state`` of the
view) and a binary one. The client answers each with ``{"seen": number}``; at most two are under way, so that a slow
line gets fewer pictures and none late.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import msgspec
from starlette.websockets import WebSocket, WebSocketDisconnect

from microtome.api.slicer.context import SlicerContext, encoded
from microtome.errors import InvalidRequest, MicrotomeError
from microtome.scene.calls.base import Call, Picture
from microtome.scene.calls.slices import GetSlice, RenderSlice, SliceMove
from microtome.scene.calls.threed import GetCamera, RenderThreeD, Turn
from microtome.scene.slices.picture import check_size

_THREE_D = re.compile(r"3d(-.+)?", re.IGNORECASE)
STILL_SECONDS = 0.15
"""So long nothing was asked for, and the picture is drawn once more, well."""
UNDER_WAY = 2
MOST_CLIENTS = 100
"""Views of one process that are open at once."""
MAX_MESSAGE = 1 << 16
_MOST_NUMBER = 1 << 53
_MOVING_QUALITY, _STILL_QUALITY = 60, 90
_MOVING_SIDE = 256
"""Pixels that the shorter side of a slice keeps while it moves."""
_ADDED = frozenset({"azimuth", "elevation", "roll"})


class _Wanted(msgspec.Struct):
    """What the client wants to see next. Moves add up until they are drawn."""

    move: dict[str, Any] = {}
    size: tuple[int, int] | None = None
    overlay: tuple[str, ...] = ()
    quality: int = _STILL_QUALITY
    format: str = "jpeg"
    number: int = 0

    def take(self, message: Mapping[str, Any], kind: type[msgspec.Struct]) -> None:
        """Add a message, whose moves are fields of ``kind``; others are passed over. Raises InvalidRequest."""
        fields = dict(message)
        number = fields.pop("number", self.number + 1)
        if not isinstance(number, int) or not 0 <= number <= _MOST_NUMBER:
            raise InvalidRequest("number is a whole number", parameter="number")
        looks = {name: fields.pop(name) for name in ("size", "overlay", "quality", "format") if name in fields}
        try:
            checked = msgspec.convert({**msgspec.structs.asdict(self), **looks}, _Wanted)
        except msgspec.ValidationError as error:
            raise InvalidRequest(str(error), parameter="message") from error
        self.size, self.overlay, self.quality, self.format = (
            checked.size, checked.overlay, checked.quality, checked.format,
        )  # fmt: skip
        move = {name: value for name, value in fields.items() if name in kind.__struct_fields__}
        try:
            msgspec.convert(move, kind)
        except msgspec.ValidationError as error:
            raise InvalidRequest(str(error), parameter="message") from error
        self.number = number
        for name, value in move.items():
            self.move[name] = _added(name, self.move.get(name), value)


class ViewStreams:
    """The streams of one process."""

    def __init__(self, context: SlicerContext) -> None:
        self._context = context
        self._open = 0

    async def serve(self, socket: WebSocket) -> None:
        """Serve one client until it leaves. Too many are told to come again (close code 1013, RFC 6455 §7.4)."""
        await socket.accept()
        if self._open >= MOST_CLIENTS:
            await socket.close(1013, "Too many views are open; try again later")
            return
        self._open += 1
        try:
            with suppress(WebSocketDisconnect, RuntimeError):
                await _Stream(self._context, socket, socket.path_params["view"]).run()
        finally:
            self._open -= 1


class _Stream:
    def __init__(self, context: SlicerContext, socket: WebSocket, view: str) -> None:
        self._context = context
        self._socket = socket
        self._view = view
        self._in_3d = _THREE_D.fullmatch(view) is not None
        self._wanted = _Wanted()
        self._asked = asyncio.Event()
        self._room = asyncio.Semaphore(UNDER_WAY)
        self._under_way = 0
        self._settled = True
        self._move: type[Turn] | type[SliceMove] = Turn if self._in_3d else SliceMove

    async def run(self) -> None:
        drawing = asyncio.create_task(self._draw())
        listening = asyncio.create_task(self._listen())
        done, pending = await asyncio.wait({drawing, listening}, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        for task in done:
            task.result()

    async def _listen(self) -> None:
        while True:
            received = await self._socket.receive()
            if received["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(received["code"])
            text = received.get("text")
            try:
                if text is None or len(text) > MAX_MESSAGE:
                    raise InvalidRequest("A message is a text of 64 KiB at most", parameter="message")
                message = msgspec.json.decode(text, type=dict[str, Any])
                if "seen" in message:
                    self._arrived()
                    continue
                self._wanted.take(message, self._move)
            except (msgspec.DecodeError, TypeError, ValueError, RecursionError):
                await self._tell(InvalidRequest("A message is a JSON object", parameter="message"))
                continue
            except MicrotomeError as error:
                await self._tell(error)
                continue
            self._asked.set()

    async def _draw(self) -> None:
        while True:
            moving = await self._next()
            await self._room.acquire()
            self._under_way += 1
            moving = moving or self._asked.is_set()
            self._settled = not moving
            self._asked.clear()  # what came while the line was full is in this picture, too
            number, move = self._wanted.number, self._wanted.move
            self._wanted.move = {}
            try:
                picture = await self._context.scene.ask(self._call(move, moving=moving))
                state = await self._context.scene.ask(self._state())
            except MicrotomeError as error:
                self._arrived()
                await self._tell(error)
                continue
            told = {
                "kind": "moving" if moving else "still", "media_type": picture.media_type, "width": picture.width,
                "height": picture.height, "number": number, "version": picture.version, "state": state,
            }  # fmt: skip
            await self._socket.send_text(encoded(told).decode())
            await self._socket.send_bytes(picture.data)

    def _arrived(self) -> None:
        """A picture is no longer under way; who says so too often gains nothing."""
        if self._under_way:
            self._under_way -= 1
            self._room.release()

    async def _next(self) -> bool:
        """Wait for something to draw: True for a picture asked for, False for the still one after the last."""
        try:
            async with asyncio.timeout(None if self._settled else STILL_SECONDS):
                await self._asked.wait()
        except TimeoutError:
            self._settled = True
            return False
        self._settled = False
        return True

    def _call(self, move: Mapping[str, Any], *, moving: bool) -> Call[Picture]:
        wanted = self._wanted
        quality = min(wanted.quality, _MOVING_QUALITY) if moving else wanted.quality
        image_format = "jpeg" if moving and wanted.format == "png" else wanted.format
        fields: dict[str, Any] = {"size": wanted.size, "quality": quality, "format": image_format}
        try:
            if self._in_3d:
                effort = "interactive" if moving else "full"
                return RenderThreeD(view=self._view, turn=msgspec.convert(move, Turn), effort=effort, **fields)
            if moving and wanted.size is not None:
                fields["size"] = _smaller(*check_size(*wanted.size))
            return RenderSlice(view=self._view, move=msgspec.convert(move, SliceMove), overlay=wanted.overlay, **fields)
        except msgspec.ValidationError as error:
            raise InvalidRequest(str(error), parameter="message") from error

    def _state(self) -> Call[Any]:
        return GetCamera(view=self._view) if self._in_3d else GetSlice(view=self._view)

    async def _tell(self, error: MicrotomeError) -> None:
        await self._socket.send_text(encoded({"kind": "error", "message": error.message}).decode())


def _smaller(width: int, height: int) -> tuple[int, int]:
    """The size of a picture that moves: the same proportions, half of the pixels each way where that is enough."""
    share = min(1.0, max(0.5, _MOVING_SIDE / max(1, min(width, height))))
    return round(width * share), round(height * share)


def _added(name: str, before: Any, value: Any) -> Any:
    """Moves that wait, together: angles and ways add up, factors multiply, the last of all others counts."""
    if before is None:
        return value
    try:
        if name in _ADDED:
            return float(before) + value
        if name == "zoom":
            return float(before) * value
        if name == "pan":
            return [before[0] + value[0], before[1] + value[1]]
    except (TypeError, IndexError) as error:
        raise InvalidRequest(f"{name} is no number", parameter=name) from error
    return value
