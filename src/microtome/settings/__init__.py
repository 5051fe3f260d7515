"""The options of a server, and the sources they are read from. Secrets never appear in ``repr``."""

from microtome.settings.load import CONFIG_VARIABLE, DEFAULT_CONFIG, Loaded, load, settings_values
from microtome.settings.parse import boolean, duration, items, name_of_bucket, optional_path, optional_text, size, whole
from microtome.settings.table import PREFIX, Option, Settings, default_of, flag, options, variable

__all__ = [
    "CONFIG_VARIABLE", "DEFAULT_CONFIG", "PREFIX", "Loaded", "Option", "Settings", "boolean", "default_of", "duration",
    "flag", "items", "load", "name_of_bucket", "optional_path", "optional_text", "options", "settings_values", "size",
    "variable", "whole",
]  # fmt: skip
