"""Contract tests and fixtures for authors of formats, stores and mappers."""
