"""DICOMweb (PS3.18): QIDO-RS, WADO-RS, STOW-RS, WADO-URI."""

from microtome.api.dicomweb.context import DicomwebContext, Limits
from microtome.api.dicomweb.mount import mount_dicomweb

__all__ = ["DicomwebContext", "Limits", "mount_dicomweb"]
