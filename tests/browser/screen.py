"""Looking at what is on the screen."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Locator, Page

T = TypeVar("T")


def picture(of: Page | Locator) -> NDArray[np.uint8]:
    """What a person sees: (height, width, 3)."""
    return np.asarray(Image.open(io.BytesIO(of.screenshot())).convert("RGB"))


def color_at(page: Page, x: float, y: float, *, size: int = 5) -> tuple[int, int, int]:
    """The mean colour around a point of the window, in CSS px."""
    clip = {"x": x - size / 2, "y": y - size / 2, "width": size, "height": size}
    pixels = np.asarray(Image.open(io.BytesIO(page.screenshot(clip=clip))).convert("RGB"))  # pyright: ignore[reportArgumentType]
    red, green, blue = pixels.reshape(-1, 3).mean(axis=0)
    return round(red), round(green), round(blue)


def close(a: tuple[int, ...], b: tuple[int, ...], tolerance: int = 12) -> bool:
    return max(abs(x - y) for x, y in zip(a, b, strict=True)) <= tolerance


def until(page: Page, look: Callable[[], T], wanted: Callable[[T], bool], tries: int = 100) -> T:
    """Look, frame after frame, until it is as wanted; the last look is returned either way."""
    seen = look()
    for _ in range(tries):
        if wanted(seen):
            break
        page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        seen = look()
    return seen


def box(locator: Locator) -> tuple[float, float, float, float]:
    """Left, top, width, height in CSS px."""
    found = locator.bounding_box()
    assert found is not None
    return found["x"], found["y"], found["width"], found["height"]
