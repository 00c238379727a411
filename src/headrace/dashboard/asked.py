"""Asking a running gateway for a frame, from outside: what `headrace top` shows."""

from __future__ import annotations

from typing import Final
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import msgspec

from headrace.dashboard.frame import Frame
from headrace.errors import ConfigError, Fault

TIMEOUT_S: Final = 10.0
KEY_REFUSED: Final = (401, 403)


def fetch_frame(url: str, key: str = "") -> tuple[Frame, bytes]:
    """One frame of the gateway whose admin port is at `url`, and the same as it came.

    Args:
        key: of the admin port; empty: it needs none.

    Raises:
        ConfigError: nobody answers there, the key is refused, or what answers gives no frames.
    """
    if urlsplit(url).scheme not in ("http", "https"):
        raise _fault(url, "is no URL of HTTP; give the admin port's, such as http://127.0.0.1:8081")
    asked = Request(f"{url.rstrip('/')}/admin/frame", headers={"authorization": f"Bearer {key}"} if key else {})
    try:
        with urlopen(asked, timeout=TIMEOUT_S) as answer:
            body = answer.read()
        return msgspec.json.decode(body, type=Frame), body
    except HTTPError as error:
        said = "needs its key: set --key-env" if error.code in KEY_REFUSED else "is no admin port of a gateway"
        raise _fault(url, f"answers {error.code}; it {said}") from error
    except (URLError, TimeoutError, OSError) as error:
        raise _fault(url, f"does not answer ({error}); is a gateway up, and is this its admin port?") from error
    except msgspec.MsgspecError as error:
        raise _fault(url, f"gives no frame that this version reads: {error}") from error


def _fault(url: str, said: str) -> ConfigError:
    return ConfigError("top", [Fault(url, said)])
