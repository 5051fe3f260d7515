"""Compressed, array, what the eye sees. Synchronous functions over bytes and arrays; no threads, no I/O here."""
