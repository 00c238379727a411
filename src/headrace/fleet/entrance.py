"""The entrance of a gateway: TLS on the clients' port, and who may use the admin port."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tls:
    """Files in PEM form; what they hold is taken on anew when they change.

    Attributes:
        certificate: path of the certificate, with those between it and its root behind it; `key`: of its private key.
        client_ca: path of the roots by which clients' certificates are checked (mTLS); None: clients show none.
    """

    certificate: str
    key: str
    client_ca: str | None = None


@dataclass(frozen=True, slots=True)
class Admin:
    """The admin port's own key, and the record of what was changed.

    Attributes:
        key_env: environment variable that holds the key; `key_file`: path of a file that does. Neither: no key.
        audit: path of the audit log; None: beside the key file of the tenants, if there is one.
    """

    key_env: str | None = None
    key_file: str | None = None
    audit: str | None = None
