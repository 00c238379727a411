"""The dashboard: a page at `/` of the admin port, and the feed that it and `headrace top` read."""

from headrace.dashboard.asked import fetch_frame
from headrace.dashboard.board import Place
from headrace.dashboard.frame import Frame
from headrace.dashboard.watcher import Dashboard

__all__ = ["Dashboard", "Frame", "Place", "fetch_frame"]
