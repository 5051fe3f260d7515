"""Bytes by range from anywhere: local disk, S3, GCS, Azure, HTTP, memory."""
