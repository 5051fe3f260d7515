"""The family ``streamer``: tiles, Deep Zoom, thumbnails, listing and viewer, as wsi-streamer's clients know them."""

from microtome.api.streamer.context import Pages, StreamerContext
from microtome.api.streamer.routes import mount_streamer

__all__ = ["Pages", "StreamerContext", "mount_streamer"]
