"""Recognise and open files. Each format is a plugin registered as an entry point of group ``microtome.formats``."""
