"""Keys and certificates of backends that are in files: read once, and only where nobody else can read them."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path

from headrace.errors import Fault
from headrace.fleet import Backend
from headrace.fleet.credentials import credential_variables, unsendable
from headrace.tenancy import ExposedSecret, read_secret

UNSENDABLE = "is empty, or holds a line end, a space or another character that no header carries; set it again"


def credential_faults(backend: Backend, environment: Mapping[str, str]) -> list[Fault]:
    """What is wrong with the backend's credentials, none of which is named."""
    path = f"backends.{backend.name}"
    faults = [
        Fault(f"{path}.api_key_env", f"the value of {name} {UNSENDABLE}")
        for name in credential_variables(backend)
        if unsendable(environment[name])
    ]
    for setting in ("api_key_file", "client_key_file"):
        said = getattr(backend, setting)
        if said is not None:
            message = _file_fault(Path(said), setting == "api_key_file")
            faults += [] if message is None else [Fault(f"{path}.{setting}", message)]
    try:
        tls_context(backend)
    except OSError as error:  # an SSLError is one
        faults.append(Fault(f"{path}.ca_file", f"the certificates cannot be used ({error.strerror or error})"))
    return faults


def file_key(backend: Backend) -> str | None:
    """The key that the backend's file holds; None: it has no file. Raises OSError."""
    return None if backend.api_key_file is None else Path(backend.api_key_file).read_text().strip()


def tls_context(backend: Backend) -> ssl.SSLContext | None:
    """How the backend's certificate is checked, which it always is; None: as by default.

    Raises:
        OSError: a certificate or its key cannot be used.
    """
    if backend.ca_file is None and backend.client_certificate_file is None:
        return None
    context = ssl.create_default_context(cafile=backend.ca_file)
    if backend.client_certificate_file is not None:
        context.load_cert_chain(backend.client_certificate_file, backend.client_key_file)
    return context


def _file_fault(path: Path, sent: bool) -> str | None:
    try:
        text = read_secret(path).decode()
    except ExposedSecret as error:
        return str(error)
    except (OSError, UnicodeDecodeError) as error:
        return f"{path} cannot be read ({getattr(error, 'strerror', None) or 'it is no text'})"
    return f"{path} {UNSENDABLE}" if sent and unsendable(text.strip()) else None
