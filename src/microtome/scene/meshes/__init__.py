"""Meshes in files that MRML neither reads nor writes."""
