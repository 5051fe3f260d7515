"""``python -m microtome``."""

from microtome.cli import main

main()
