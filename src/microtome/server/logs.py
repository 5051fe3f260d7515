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
    logging.getLogger("uvicorn.error").addFilter(_is_news)


def _is_news(record: logging.LogRecord) -> bool:
    """An answer that broke off was told of by who gave it up: uvicorn need not say so again."""
    return record.msg != "ASGI callable returned without completing response."
