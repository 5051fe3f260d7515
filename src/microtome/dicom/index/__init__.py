"""The index of DICOM instances: what is stored where, searched by attributes, in SQLite or PostgreSQL."""
