"""Stand-ins for the modules of WSI-Service that custom mappers import: its base class and its models."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from types import ModuleType, SimpleNamespace
from typing import Any, cast

from microtome.telemetry import logger

PACKAGE = "wsi_service"


class Model(SimpleNamespace):
    """Fields by keyword, as a model has; ``model_dump`` gives them as dicts."""

    def model_dump(self) -> dict[str, Any]:
        """The fields, models within them as dicts, too."""
        return {name: _dumped(value) for name, value in vars(self).items()}


class StorageAddress(Model):
    """``address``, ``slide_id``, ``main_address``, ``storage_address_id``."""


class SlideStorage(Model):
    """``slide_id``, ``storage_type``, ``storage_addresses``."""


class CaseLocalMapper(Model):
    """``id``, ``local_id``, ``slides``."""


class SlideLocalMapper(Model):
    """``id``, ``local_id``, ``slide_storage``."""


class BaseMapper(ABC):
    """What mappers of WSI-Service derive from."""

    def __init__(self, data_dir: str) -> None:
        self.data_dir = data_dir
        self.is_context_dependent = False

    @abstractmethod
    def get_cases(self, context: str | None = None) -> Any:
        """All cases."""

    @abstractmethod
    def get_slides(self, case_id: str) -> Any:
        """The slides of a case."""

    @abstractmethod
    def get_slide(self, slide_id: str) -> Any:
        """One slide."""

    def refresh(self, force_refresh: bool = True) -> None:  # noqa: B027, FBT001, FBT002 - as documented
        """Look for changes."""

    def load(self) -> None:  # noqa: B027 - as documented
        """Read what is kept."""


_STORAGE: dict[str, object] = {"SlideStorage": SlideStorage, "StorageAddress": StorageAddress}
_MODULES: dict[str, dict[str, object]] = {
    "base_mapper": {"BaseMapper": BaseMapper},
    "custom_models.local_mapper_models": {
        "CaseLocalMapper": CaseLocalMapper, "SlideLocalMapper": SlideLocalMapper, **_STORAGE
    },
    "custom_models.old_v3.storage": _STORAGE,
    "models.v3.storage": _STORAGE,
    "singletons": {"logger": logger},
}  # fmt: skip


def install() -> None:
    """Make the stand-ins importable under the names of the original, which is not installed."""
    for path, content in _MODULES.items():
        steps = f"{PACKAGE}.{path}".split(".")
        for depth in range(1, len(steps) + 1):
            name = ".".join(steps[:depth])
            module = sys.modules.get(name)
            if module is None:
                module = sys.modules[name] = ModuleType(name)
                module.__path__ = []
            if depth > 1:
                vars(sys.modules[".".join(steps[: depth - 1])]).setdefault(steps[depth - 1], module)
        for name, value in content.items():
            vars(sys.modules[f"{PACKAGE}.{path}"]).setdefault(name, value)


def _dumped(value: object) -> object:
    if isinstance(value, Model):
        return value.model_dump()
    if isinstance(value, list):
        return [_dumped(each) for each in cast("list[object]", value)]
    return value
