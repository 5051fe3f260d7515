"""Logging for people: compact lines on standard error."""

from __future__ import annotations

import logging


def set_up(*, verbose: bool) -> None:
    """Send what microtome and uvicorn log to standard error."""
    logging.basicConfig(
        level=logging.WARNING,
        format="%(asctime)s %(levelname)s %(message)s",
        datefmt="%H:%M:%S",
        force=True,
    )
    logging.getLogger("microtome").setLevel(logging.DEBUG if verbose else logging.INFO)
    logging.getLogger("uvicorn.access").setLevel(logging.INFO if verbose else logging.WARNING)
