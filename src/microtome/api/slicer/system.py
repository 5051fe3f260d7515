"""``/slicer/system``: what runs here, and its end."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

from starlette.responses import Response

from microtome.api.slicer.context import Asked, SlicerContext, answered, done
from microtome.errors import InvalidRequest, UnsupportedFormat

_REPOSITORY = "https://github.com/Slicer/Slicer"
_ARCHITECTURES = {"x86_64": "amd64", "AMD64": "amd64", "aarch64": "arm64"}


async def system(context: SlicerContext, asked: Asked) -> Response:
    """The versions of what runs here (GET .../version); DELETE ends the server, or the scene alone."""
    if asked.method == "DELETE":
        await context.stop()
        return done()
    if asked.rest != "/version":
        raise InvalidRequest("There is /slicer/system/version, and DELETE /slicer/system", parameter="path")
    return answered(asked.request, told())


def told() -> dict[str, object]:
    """The keys of the original. Raises UnsupportedFormat where MRML is not installed."""
    try:
        installed = version("slicer-core")
    except PackageNotFoundError as error:
        raise UnsupportedFormat(
            "The scene needs the package slicer-core: pip install 'microtome[scene]'", feature="scene"
        ) from error
    major, minor, revision = (*installed.split("."), "0", "0", "0")[:3]
    system, machine = platform.system().lower(), platform.machine()
    return {
        "applicationName": "Slicer",
        "applicationDisplayName": "microtome",
        "applicationVersion": f"{major}.{minor}.{revision}",
        "releaseType": "Stable",
        "repositoryUrl": _REPOSITORY,
        "repositoryBranch": "main",
        "revision": revision,
        "majorVersion": int(major),
        "minorVersion": int(minor),
        "arch": _ARCHITECTURES.get(machine, machine),
        "os": {"darwin": "macosx", "windows": "win"}.get(system, system),
        "isCustomMainApplication": True,
        "mainApplicationName": "microtome",
        "mainApplicationRepositoryUrl": _REPOSITORY,
        "mainApplicationRepositoryRevision": revision,
        "mainApplicationRevision": revision,
        "mainApplicationMajorVersion": int(major),
        "mainApplicationMinorVersion": int(minor),
        "mainApplicationPatchVersion": int(revision),
    }
