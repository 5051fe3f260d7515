"""DICOM files: read, indexed, queried, retrieved. Nothing here knows HTTP."""
