"""The API of WSI-Service, version 3: the one that xOpat and EMPAIA clients speak."""

from microtome.api.wsi_v3.context import Limits, SignedPolicy, TokenPolicy, V3Context
from microtome.api.wsi_v3.express import KnownRecords, V3Express
from microtome.api.wsi_v3.mount import mount_wsi_v3
from microtome.api.wsi_v3.pages import PageOptions

__all__ = [
    "KnownRecords",
    "Limits",
    "PageOptions",
    "SignedPolicy",
    "TokenPolicy",
    "V3Context",
    "V3Express",
    "mount_wsi_v3",
]
