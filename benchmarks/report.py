"""The table of a run as JSON, Markdown and a plot."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict
from html import escape
from pathlib import Path

from benchmarks.workloads import Bench, Row

USUAL = (5, 2)
"""Rounds, and seconds of each."""
_UNITS = {
    "rate": ("{:,.0f}", "/s"), "cpu_us": ("{:,.1f}", " us CPU"), "p50_ms": ("{:.2f}", " ms p50"),
    "p99_ms": ("{:.2f}", " ms p99"), "tiles_per_s": ("{:,.0f}", " tiles/s"),
    "first_picture_ms": ("{:,.0f}", " ms to the first picture"), "resident_mb": ("{:,.0f}", " MB resident"),
    "worst_ms": ("{:.0f}", " ms the worst of a round"), "worst_of_all_ms": ("{:.0f}", " ms the worst of all rounds"),
    "largest_process_mb": ("{:,.0f}", " MB the largest process"),
    "configured_caches_mb": ("{:,.0f}", " MB of caches configured"),
}  # fmt: skip


def machine() -> str:
    """What the figures were measured on, in a sentence."""
    model = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.machine(),
    )
    return f"{os.cpu_count()} cores ({model}), {platform.system()}, Python {platform.python_version()}"


def write(bench: Bench, folder: Path, page: Path, plot: Path) -> None:
    """Results as ``folder/latest.json``, the page for people and its plot. What was not run now stays."""
    folder.mkdir(parents=True, exist_ok=True)
    _keep(bench, folder / "latest.json")
    rows = [asdict(row) for row in bench.rows]
    (folder / "latest.json").write_text(
        json.dumps({"machine": machine(), "rows": rows, "missing": bench.missing}, indent=2) + "\n"
    )
    page.parent.mkdir(parents=True, exist_ok=True)
    plot.parent.mkdir(parents=True, exist_ok=True)
    plot.write_text(_plot(bench.rows))
    page.write_text(_page(bench, os.path.relpath(plot, page.parent)))


def _keep(bench: Bench, latest: Path) -> None:
    """Put the rows of an earlier run that are not in this one before and behind those that are."""
    if not latest.exists():
        return
    before = json.loads(latest.read_text())
    new = {row.work: row for row in bench.rows}
    kept = [new.pop(row["work"], None) or Row(**row) for row in before["rows"]]
    bench.rows = [*kept, *new.values()]
    told = {row.work for row in bench.rows} | {reason.partition(":")[0] for reason in bench.missing}
    bench.missing += [reason for reason in before["missing"] if reason.partition(":")[0] not in told]


def _page(bench: Bench, plot: str) -> str:
    lines = [
        "# Benchmarks",
        "",
        "Written by `make bench`. Servers of one workload run at the same time and are loaded in turn, in paired"
        " rounds; figures are medians of the rounds, ratios are medians of the ratios of each round. CPU is user and"
        " system time of the server's processes over its answers. Machines differ: read the ratios, not the rates.",
        "",
        f"Measured on {machine()}; {USUAL[0]} rounds of {USUAL[1]} s unless said otherwise. Tiles of 256 px,"
        " keep-alive.",
        "",
        "`tiffslide + Pillow` is not WSI-Service but what that is made of: FastAPI, tiffslide, Pillow and tifffile,"
        " with nothing around them (`benchmarks/tiffslide_server.py`), a lower bound of it on the same machine. The"
        " original's own figures, 1.3 ms of CPU for a JPEG tile and 27 PNG tiles/s of one worker, were measured"
        " elsewhere.",
        "",
        "`Orthanc` is 1.10.1 with the DICOMweb plugin 1.7, as Debian 12 packages it, asked for the same studies by the"
        " same requests; what is said of 1.12.7 was measured elsewhere, on a machine like this. Its time for a tile"
        " grows with the number of frames of the file, hence two rows. Searches, metadata and rows that say so are"
        " answered as browsers ask, with `Accept-Encoding: gzip`, which Orthanc does not do; microtome keeps those"
        " answers until the index changes. Pictures are never rendered twice.",
        "",
        f"![CPU time per answer]({plot})",
        "",
        "| work | target | measured | met |",
        "| --- | --- | --- | --- |",
    ]
    lines += [
        f"| {row.work} | {row.target} | {row.verdict}{_remark(row)} |"
        f" {'yes' if row.met else 'no' if row.met is False else ''} |"
        for row in bench.rows
    ]
    lines += ["", "## Figures", "", "| work | server | figures |", "| --- | --- | --- |"]
    for row in bench.rows:
        for name, values in row.figures.items():
            told = ", ".join(_UNITS[key][0].format(value) + _UNITS[key][1] for key, value in values.items())
            lines.append(f"| {row.work} | {name} | {told} |")
    lines += ["", "## What could not be run", ""]
    lines += [f"- {reason}" for reason in bench.missing] or ["Everything was run."]
    return "\n".join(lines) + "\n"


def _remark(row: Row) -> str:
    """Fewer rounds than usual, and a warning where others had the machine: latencies mean little then."""
    rounds = "" if (row.rounds, row.seconds) == USUAL else f"{row.rounds} rounds of {row.seconds} s"
    busy = f"on a busy machine, load {row.load:.0f}" if row.load > 2 * (os.cpu_count() or 1) else ""
    remarks = ", ".join(filter(None, (rounds, busy)))
    return f" ({remarks})" if remarks else ""


def _plot(rows: list[Row]) -> str:
    """Bars of CPU time per answer on a logarithmic scale, as SVG."""
    import math

    bars = [
        (row.work, name, values["cpu_us"])
        for row in rows
        for name, values in row.figures.items()
        if values.get("cpu_us", 0) > 0
    ]
    left, height, width = 330, 22, 520
    low, high = 1.0, max([10.0, *(value for _, _, value in bars)]) * 1.5
    parts: list[str] = []
    y, previous = 34, ""
    for work, name, value in bars:
        if work != previous:
            y += 12
            parts.append(f'<text x="10" y="{y + 4}" font-weight="600">{escape(work)}</text>')
            y, previous = y + 14, work
        length = math.log(max(value, low) / low) / math.log(high / low) * width
        fill = "#0f766e" if name == "microtome" else "#94a3b8"
        parts.append(f'<text x="{left - 8}" y="{y + 13}" text-anchor="end">{escape(name)}</text>')
        parts.append(f'<rect x="{left}" y="{y}" width="{length:.1f}" height="16" rx="2" fill="{fill}"/>')
        parts.append(f'<text x="{left + length + 6:.1f}" y="{y + 13}">{value:,.0f} us</text>')
        y += height
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {left + width + 90} {y + 12}" font-family="sans-serif"'
        ' font-size="12" fill="#1e293b"><rect width="100%" height="100%" fill="#ffffff"/>'
        '<text x="10" y="22" font-size="15" font-weight="600">'
        "CPU time per answer, logarithmic (shorter is better)</text>" + "".join(parts) + "</svg>\n"
    )
