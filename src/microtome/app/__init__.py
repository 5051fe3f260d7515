"""Composition root: settings in, services wired, one ASGI application out."""

from microtome.app.application import create_app
from microtome.app.services import Services, build_services, open_storage

__all__ = ["Services", "build_services", "create_app", "open_storage"]
