"""``python -m benchmarks [--only NAME ...] [--rounds N] [--slides FOLDER]``: the whole table, peers in the same run."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks import peers, pictures, report, workloads
from benchmarks.colour import colour
from benchmarks.dicomweb import dicomweb
from benchmarks.million import million
from benchmarks.scene import scene
from benchmarks.workloads import Bench

ROOT = Path(__file__).resolve().parent.parent
WORKLOADS: dict[str, Callable[[Bench], None]] = {
    "warm": workloads.warm,
    "cold": workloads.cold_local,
    "s3": lambda bench: workloads.viewer_path(bench, 0),
    "s3-latency": lambda bench: workloads.viewer_path(bench, 20),
    "health": workloads.health_under_load,
    "memory": workloads.memory,
    "v3": pictures.pictures,
    "v3-region": pictures.large_region,
    "colour": colour,
    "dicomweb": dicomweb,
    "million": million,
    "scene": scene,
}


def make_slides(folder: Path) -> None:
    """Big slides from the shared generator, made once."""
    wanted = {"svs-ycbcr": "svs-ycbcr.svs", "svs-j2k": "svs-j2k.svs"}
    lacking = [name for name, file in wanted.items() if not (folder / file).exists()]
    generator = ROOT.parent / "shared" / "tools" / "make_slides.py"
    if not lacking:
        return
    if not generator.exists():
        sys.exit(f"no slides in {folder}: give --slides FOLDER with {', '.join(wanted.values())}")
    subprocess.run([sys.executable, str(generator), str(folder), "--only", *lacking], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", choices=WORKLOADS, default=list(WORKLOADS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--slides", type=Path, default=ROOT / ".cache" / "bench" / peers.BUCKET)
    parser.add_argument("--no-page", action="store_true", help="print only; leave docs/benchmarks.md as it is")
    arguments = parser.parse_args()
    slides: Path = arguments.slides.resolve()
    slides.mkdir(parents=True, exist_ok=True)
    make_slides(slides)
    with tempfile.TemporaryDirectory() as work:
        Path(work).chmod(0o755)
        bench = Bench(slides, Path(work), arguments.rounds, arguments.seconds)
        for name in arguments.only:
            try:
                WORKLOADS[name](bench)
            except (ImportError, OSError, RuntimeError, AssertionError) as error:
                bench.add_missing(name, str(error).splitlines()[0] if str(error) else repr(error))
        if not arguments.no_page:
            report.write(bench, ROOT / "benchmarks" / "results", ROOT / "docs" / "benchmarks.md",
                         ROOT / "docs" / "images" / "benchmarks.svg")  # fmt: skip


if __name__ == "__main__":
    main()
