"""Certificates: the TLS of the clients' port, taken on anew when its files change.

A new certificate is tried in a context of its own: whether it can be read, whether it and the key are of each other.
Only then does the port take new connections with it; those that are open go on with the one they began with. Whatever
is wrong with the files, the context that was good stays, and the operator is told.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable

from headrace.errors import ConfigError, Fault
from headrace.fleet import Tls

ALPN = ["http/1.1"]
Stamps = tuple[tuple[int, int, int], ...]


def server_context(files: Tls) -> ssl.SSLContext:
    """A context that takes TLS 1.2 and later with these files.

    Raises:
        ConfigError: one of them cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(ALPN)
    try:
        context.load_cert_chain(files.certificate, files.key, password=_no_password)
    except (OSError, ValueError) as error:
        said = f"{files.certificate} and {files.key} cannot be used: {error}; give a certificate and its key as PEM"
        raise ConfigError("fleet", [Fault("tls.certificate", said)]) from error
    if files.client_ca is not None:
        try:
            context.load_verify_locations(files.client_ca)
        except OSError as error:
            said = f"{files.client_ca} cannot be used: {error}; give the roots of clients' certificates as PEM"
            raise ConfigError("fleet", [Fault("tls.client_ca", said)]) from error
        context.verify_mode = ssl.CERT_REQUIRED
    return context


class CertificateWatch:
    """The certificate of a running gateway.

    Attributes:
        context: what new connections are taken with.
        fault: why the files as they are cannot be used; empty: they can.
    """

    def __init__(self, files: Tls, tell: Callable[[str], None]) -> None:
        """Raises ConfigError: one of the files cannot be used."""
        self.fault = ""
        self._files = files
        self._tell = tell
        self.context = server_context(files)
        self._stamps = _stamps(files)

    def look(self) -> bool:
        """Make a new context if the files are others; returns whether there is one."""
        try:
            stamps = _stamps(self._files)
            if stamps == self._stamps:
                return False
            self.context = server_context(self._files)
        except (OSError, ConfigError) as error:
            if str(error) != self.fault:
                self.fault = str(error)
                self._tell(f"the certificate is not taken on, the old one stays: {error}")
            return False
        self._stamps, self.fault = stamps, ""
        self._tell(f"{self._files.certificate}: taken on")
        return True


def _no_password() -> str:
    """A gateway that starts by itself has nobody to ask."""
    raise ValueError("the key is encrypted; give one without a password")


def _stamps(files: Tls) -> Stamps:
    names = [name for name in (files.certificate, files.key, files.client_ca) if name is not None]
    return tuple((found.st_mtime_ns, found.st_size, found.st_ino) for found in map(os.stat, names))
