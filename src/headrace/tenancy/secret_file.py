"""Files that hold secrets: read only where nobody else can read or change them.

Of the mode, others than the owner may have nothing, and its group may read: mounted secrets come so (Kubernetes gives
them to the pod's group).
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

EXPOSED = stat.S_IWGRP | stat.S_IRWXO


class ExposedSecret(Exception):
    """Others may read or change the file. The message says so, and what to do."""


def read_secret(path: Path) -> bytes:
    """What the file holds.

    Raises:
        OSError: it cannot be read.
        ExposedSecret: others may read or change it.
    """
    with path.open("rb") as file:
        mode = os.fstat(file.fileno()).st_mode
        if mode & EXPOSED:
            said = f"others may read or change {path} (mode {stat.S_IMODE(mode):04o}); run `chmod 600 {path}`"
            raise ExposedSecret(said)
        return file.read()
