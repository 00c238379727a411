"""Whether a backend's dialect, address and credentials go together. A dialect is never guessed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fnmatch import fnmatchcase
from urllib.parse import urlsplit

from headrace.errors import Fault
from headrace.fleet.catalog import close_matches
from headrace.fleet.deployment import Deployment
from headrace.fleet.fleet import Backend
from headrace.fleet.quota import as_debited
from headrace.wire.dialects import COMPATIBLE, DIALECTS, Auth, Dialect, region_of


def spoken_dialect(backend: Backend) -> Dialect:
    """The backend's dialect; the plain one where it names none that is known."""
    return DIALECTS.get(backend.dialect, COMPATIBLE)


def debited_deployment(deployment: Deployment, dialect: Dialect) -> Deployment:
    """The deployment, with its quota as a provider of this dialect takes from it."""
    if deployment.quota is None:
        return deployment
    return replace(deployment, quota=as_debited(deployment.quota, dialect.reservation))


def auth_of(backend: Backend) -> Auth:
    """How requests to the backend are authorised: by what it sets, among what its dialect takes."""
    taken = spoken_dialect(backend).auth
    if backend.token_command:
        return Auth.TOKEN_COMMAND
    if backend.has_key:
        return Auth.X_API_KEY if Auth.X_API_KEY in taken else Auth.BEARER
    return Auth.SIGV4 if Auth.SIGV4 in taken and not backend.emulated else Auth.NONE


def dialect_faults(path: str, backend: Backend) -> Iterator[Fault]:
    """Every fault of the backend's dialect and credentials; `path` is the backend's own."""
    if backend.dialect not in DIALECTS:
        yield Fault(f"{path}.dialect", f"no dialect {backend.dialect!r}; {close_matches(backend.dialect, DIALECTS)}")
        return
    dialect, host = DIALECTS[backend.dialect], _host(backend)
    owner = dialect_of_host(host)
    if owner is not None and owner is not dialect and not backend.emulated:
        yield Fault(f"{path}.dialect", f'{host} speaks {owner.title}\'s dialect; set dialect = "{owner.name}"')
    yield from _credentials(path, backend, dialect, host)


def _credentials(path: str, backend: Backend, dialect: Dialect, host: str) -> Iterator[Fault]:
    if backend.api_key_file is not None and backend.api_key_env is not None:
        yield Fault(f"{path}.api_key_file", "api_key_env is set too; a backend is given one credential: remove one")
    if backend.token_command and backend.has_key:
        yield Fault(f"{path}.token_command", "a key is set too; a backend is given one credential: remove one")
    if backend.token_command and not {Auth.BEARER, Auth.TOKEN_COMMAND} & set(dialect.auth):
        yield Fault(f"{path}.token_command", f"{dialect.title} takes no bearer token; set api_key_env instead")
    if backend.has_key and not {Auth.BEARER, Auth.X_API_KEY} & set(dialect.auth):
        said = "takes short-lived tokens, not a key; set token_command"
        setting = "api_key_env" if backend.api_key_env is not None else "api_key_file"
        yield Fault(f"{path}.{setting}", f'{dialect.title} {said}, e.g. ["gcloud", "auth", "print-access-token"]')
    if backend.emulated:
        return
    auth = auth_of(backend)
    if auth is Auth.NONE and Auth.NONE not in dialect.auth:
        setting = "token_command" if Auth.TOKEN_COMMAND in dialect.auth else "api_key_env"
        yield Fault(f"{path}.{setting}", f"missing; {dialect.title} answers nobody without a credential")
    if auth is Auth.SIGV4 and backend.aws_region is None and region_of(host) is None:
        yield Fault(f"{path}.aws_region", f"missing; {host!r} does not name the region that signatures are made for")


def _host(backend: Backend) -> str:
    try:
        return urlsplit(backend.url).hostname or ""
    except ValueError:
        return ""  # the URL has a fault of its own


def dialect_of_host(host: str) -> Dialect | None:
    """The provider whose host this is; None: anybody's."""
    for dialect in DIALECTS.values():
        if any(fnmatchcase(host, pattern) for pattern in dialect.hosts):
            return dialect
    return None
