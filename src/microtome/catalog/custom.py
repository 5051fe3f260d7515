"""Mappers of others: a class with the methods that WSI-Service documents, used as it is."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from microtome.catalog import original
from microtome.catalog.answers import Malformed, case_of, slide_of
from microtome.catalog.base import Case, MappedSlide
from microtome.catalog.kept import Kept
from microtome.catalog.listing import FRESH
from microtome.errors import Forbidden, InvalidRequest, MicrotomeError, NotFound, StorageUnavailable
from microtome.telemetry import logger

T = TypeVar("T")

VARIABLE = "WS_LOCAL_MODE"
METHODS = ("get_cases", "get_slides", "get_slide")
TIMEOUT = 60.0
"""So many s a method of the class has for its answer."""
KEPT_BYTES = 16 * 1024 * 1024

_NOT_FOUND = 404
_CLIENT_ERRORS = range(400, 500)
_REFUSED = {401, 403}


class CustomMapper:
    """Adapts an object with ``get_cases(context)``, ``get_slides(case_id)``, ``get_slide(slide_id)``.

    It may also have ``refresh()`` or ``load()``, and ``close()``. Methods are plain or async, and answer with dicts,
    models or objects. Plain ones run one after the other in a thread of their own, in which the object was made, too:
    it may hold what belongs to a thread, such as a SQLite connection. Exceptions that carry ``status_code`` and
    ``detail``, as those of FastAPI do, become NotFound (404), Forbidden (401, 403) or InvalidRequest (other 4xx).
    Anything else that goes wrong is StorageUnavailable. ``get_slide`` is asked for a slide once in ``fresh`` s.
    """

    def __init__(
        self,
        name: str,
        mapper: Any,
        thread: ThreadPoolExecutor,
        *,
        data_dir: str,
        fresh: float = FRESH,
        time_limit: float = TIMEOUT,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._mapper = mapper
        self._thread = thread
        self._data_dir = data_dir
        self._time_limit = time_limit
        self._kept: Kept[str, MappedSlide] = Kept(
            fresh, budget=KEPT_BYTES, weigh=lambda slide: 1000 + 500 * len(slide.addresses), clock=clock
        )

    @classmethod
    async def open(cls, name: str, *, data_dir: str, fresh: float = FRESH, time_limit: float = TIMEOUT) -> CustomMapper:
        """Load the class ``name`` ("module:Class") and make one with ``data_dir``.

        Raises InvalidRequest(parameter="WS_LOCAL_MODE") when it cannot be loaded, lacks a method, or does not start.
        """
        thread = ThreadPoolExecutor(1, thread_name_prefix="mapper")
        try:
            mapper = await asyncio.get_running_loop().run_in_executor(thread, _made, name, data_dir)
        except BaseException:
            thread.shutdown(wait=False)
            raise
        return cls(name, mapper, thread, data_dir=data_dir, fresh=fresh, time_limit=time_limit)

    async def cases(self, context: str | None) -> Sequence[Case]:
        """The cases as the object gives them."""
        method = self._mapper.get_cases
        arguments = (context,) if _takes_an_argument(method) else ()
        return self._read(lambda answer: [case_of(each) for each in answer], await self._call(method, *arguments))

    async def slides(self, case_id: str) -> Sequence[MappedSlide]:
        """The slides of a case as the object gives them; those whose main address leaves the data are left out."""
        answer = await self._call(self._mapper.get_slides, case_id)
        if answer is None:
            raise NotFound("case", case_id, f"Case with case_id {case_id} does not exist")
        return self._read(self._slides, answer)

    async def slide(self, slide_id: str) -> MappedSlide:
        """A slide as the object gives it."""
        return await self._kept.get(slide_id, lambda: self._slide(slide_id))

    async def refresh(self) -> None:
        """Call ``refresh``, or else ``load``, if there is one."""
        method = getattr(self._mapper, "refresh", None) or getattr(self._mapper, "load", None)
        if method is not None:
            await self._call(method)
        self._kept.forget()

    async def close(self) -> None:
        """Call ``close`` if there is one, and end the thread."""
        method = getattr(self._mapper, "close", None)
        try:
            if method is not None:
                await self._call(method)
        finally:
            self._thread.shutdown(wait=False, cancel_futures=True)

    async def _slide(self, slide_id: str) -> MappedSlide:
        answer = await self._call(self._mapper.get_slide, slide_id)
        missing = NotFound("slide", slide_id, f"Slide with slide_id {slide_id} does not exist")
        if answer is None:
            raise missing
        try:
            return self._read(lambda found: slide_of(found, self._data_dir), answer)
        except NotFound as error:
            logger.warning("mapper %s: slide %s is at no address within the data", self._name, slide_id)
            raise missing from error

    def _slides(self, answer: Any) -> list[MappedSlide]:
        found: list[MappedSlide] = []
        for each in answer:
            try:
                found.append(slide_of(each, self._data_dir))
            except NotFound:
                logger.warning("mapper %s: a slide is left out, it is at no address within the data", self._name)
        return found

    def _read(self, read: Callable[[Any], T], answer: Any) -> T:
        try:
            return read(answer)
        except (Malformed, TypeError) as error:
            raise StorageUnavailable(f"The mapper {self._name} gave an answer of another form: {error}") from error

    async def _call(self, method: Callable[..., Any], *arguments: object) -> Any:
        try:
            async with asyncio.timeout(self._time_limit):
                if inspect.iscoroutinefunction(method):
                    return await method(*arguments)
                answer = await asyncio.get_running_loop().run_in_executor(self._thread, method, *arguments)
                return await answer if inspect.isawaitable(answer) else answer
        except TimeoutError as error:
            raise StorageUnavailable(
                f"The mapper {self._name} did not answer within {self._time_limit:g} s", timed_out=True
            ) from error
        except MicrotomeError:
            raise
        except Exception as error:
            raise _translated(error, self._name, *arguments) from error


def _translated(error: Exception, name: str, asked: object = "") -> MicrotomeError:
    status, detail = getattr(error, "status_code", None), getattr(error, "detail", None)
    if isinstance(status, int) and status in _CLIENT_ERRORS and isinstance(detail, str):
        if status == _NOT_FOUND:
            return NotFound("slide", str(asked), detail)
        return Forbidden(detail) if status in _REFUSED else InvalidRequest(detail, parameter="mapper")
    logger.error("mapper %s failed", name, exc_info=error)
    return StorageUnavailable(f"The mapper {name} failed ({type(error).__name__}); the log has the cause")


def _takes_an_argument(method: Callable[..., Any]) -> bool:
    """Older mappers have a ``get_cases`` without a context."""
    try:
        return bool(inspect.signature(method).parameters)
    except (TypeError, ValueError):
        return True


def _made(name: str, data_dir: str) -> Any:
    module, _, attribute = name.partition(":")
    kind = getattr(_loaded(module, name), attribute, None)
    if not callable(kind):
        raise InvalidRequest(f"{VARIABLE}: module {module} has no class {attribute}", parameter=VARIABLE)
    lacking = [method for method in METHODS if not callable(getattr(kind, method, None))]
    if lacking:
        raise InvalidRequest(f"{VARIABLE}: {name} has no method {', '.join(lacking)}", parameter=VARIABLE)
    try:
        return kind(data_dir)
    except Exception as error:
        raise InvalidRequest(
            f"{VARIABLE}: {name} could not be started with the folder of the data ({type(error).__name__})",
            parameter=VARIABLE,
        ) from error


def _loaded(module: str, name: str) -> Any:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)  # where mappers lie that are not installed; last, so that they hide nothing
    try:
        try:
            return importlib.import_module(module)
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] != original.PACKAGE:
                raise
            original.install()
            return importlib.import_module(module)
    except Exception as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        reason = f"there is no module {missing}" if missing else type(error).__name__
        raise InvalidRequest(f"{VARIABLE}: {name} cannot be loaded: {reason}", parameter=VARIABLE) from error
