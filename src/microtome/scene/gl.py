"""Whether 3D can be drawn here: tried in a process of its own, because VTK ends its process where it cannot."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from functools import lru_cache

SECONDS = 60
HELP = (
    "3D views need a GL library: install libegl1 and libgl1-mesa-dri (or libosmesa6) and start the server again."
    " Slices and everything else work without it"
)
_SOFTWARE = ("llvmpipe", "softpipe", "swr", "software")
_PROGRAM = """
from vtkmodules.vtkRenderingCore import vtkRenderer, vtkRenderWindow
from vtkmodules import vtkRenderingOpenGL2
window = vtkRenderWindow()
window.SetOffScreenRendering(1)
window.SetSize(16, 16)
window.AddRenderer(vtkRenderer())
window.Render()
told = [line.split(":", 1)[1].strip() for line in window.ReportCapabilities().splitlines() if "renderer string" in line]
print("renderer:", told[0] if told else "unknown")
"""


@dataclass(frozen=True, slots=True)
class Renderer:
    """What draws: ``name`` as GL tells it. ``software``: the processor does it, so that other ways are quicker."""

    name: str

    @property
    def software(self) -> bool:
        """Whether there is no graphics card."""
        return any(word in self.name.lower() for word in _SOFTWARE)


@lru_cache(maxsize=1)
def find_renderer() -> Renderer | None:
    """What draws 3D in this environment, None when nothing does. Takes about a second, once."""
    try:
        done = subprocess.run(  # noqa: S603 - our own program
            [sys.executable, "-c", _PROGRAM],
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
            env={**os.environ, "VTK_DEFAULT_OPENGL_WINDOW": "vtkEGLRenderWindow"},
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = [line for line in done.stdout.splitlines() if line.startswith("renderer:")]
    return Renderer(found[0].partition(":")[2].strip()) if done.returncode == 0 and found else None
