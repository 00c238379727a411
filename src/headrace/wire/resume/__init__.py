"""Going on with an answer that broke off: what the client has of it, what another backend is asked, and the seam."""

from headrace.wire.resume.continuing import continued, obstacle, pause_obstacle, takes_over
from headrace.wire.resume.delivered import Delivered
from headrace.wire.resume.progress import Progress
from headrace.wire.resume.seam import Seam

__all__ = ["Delivered", "Progress", "Seam", "continued", "obstacle", "pause_obstacle", "takes_over"]
