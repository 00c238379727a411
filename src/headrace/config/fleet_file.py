"""Read a fleet file, or the sample fleet that ships with the package."""

from __future__ import annotations

import tomllib
from importlib import resources
from pathlib import Path

from headrace.config.build import Silicon, build_fleet, build_silicon
from headrace.errors import ConfigError, Fault
from headrace.fleet import Fleet

SAMPLE = "sample fleet"


def load_fleet(path: Path | None = None) -> Fleet:
    """The fleet that the file at `path` describes; None: the sample fleet.

    Raises:
        ConfigError: the file cannot be read, is not TOML, or has faults; it carries all of them.
    """
    if path is None:
        return parse_fleet(sample_fleet_text(), SAMPLE)
    return parse_fleet(read_text(path), str(path), path.parent)


def load_silicon(path: Path) -> Silicon:
    """The silicon and models that the file at `path` declares; it need not be a whole fleet.

    Raises:
        ConfigError: as in `load_fleet`.
    """
    return build_silicon(read_document(path), str(path), path.parent)


def read_document(path: Path) -> dict[str, object]:
    """The TOML document at `path`, as it is. Raises ConfigError: it cannot be read, or is not TOML."""
    return parse_document(read_text(path), str(path))


def read_text(path: Path) -> str:
    """A text file. Raises ConfigError: it cannot be read, or is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError(str(path), [Fault("file", f"cannot be read: {reason}; check the path")]) from error
    except UnicodeDecodeError as error:
        raise ConfigError(
            str(path), [Fault("file", f"is not UTF-8 text (byte {error.start}); save it as UTF-8")]
        ) from error


def parse_fleet(text: str, source: str, folder: Path | None = None) -> Fleet:
    """The fleet that a TOML document describes.

    Args:
        text: the document.
        source: its name in messages.
        folder: files that it names are relative to this; None: to the present directory.

    Raises:
        ConfigError: `text` is not TOML (with line and column), or has faults; it carries all of them.
    """
    return build_fleet(parse_document(text, source), source, folder)


def parse_document(text: str, source: str) -> dict[str, object]:
    """A TOML document as it is. Raises ConfigError, with line and column: it is not TOML."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(source, [Fault("syntax", f"not valid TOML: {error}")]) from error


def sample_fleet_text() -> str:
    """The sample fleet's file, as it ships: something to copy and change."""
    return resources.files("headrace").joinpath("data", "fleet.toml").read_text(encoding="utf-8")
