"""The books of a sweep: each result is written as it comes, and a second run does only what is missing.

    FOLDER/finished.jsonl    the fingerprint, then a line for every result; appended to, one write and one fsync a line
    FOLDER/timing.jsonl      how long each took: not a result, so it is kept apart
    FOLDER/study.parquet     the table, written when all is done

A killed run leaves at most one broken last line: it is cut off, and what it was about to say is done again. Results of
another grid, trace, fleet or version must never be mixed with these, so a folder with another fingerprint is refused.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

import headrace
from headrace.errors import ConfigError, Fault
from headrace.study.sweep.grid import Grid
from headrace.study.sweep.simulation import Done, Judged, PointResult

FINISHED, TIMING, TABLE = "finished.jsonl", "timing.jsonl", "study.parquet"
NOT_IN_RESULTS = ("cli", "gateway", "emulate", "bench", "ledger", "http", "wire")
IN_RESULTS = ("compare.py", "simulation.py", "traffic.py", "variant.py", "numbers.py", "policies.py")  # of study
REMEDY = "give another --out, or remove the folder to start again"


class Fingerprint(msgspec.Struct, frozen=True, tag="fingerprint"):
    """What the results depend on: a digest of each input by name."""

    schema: int
    inputs: dict[str, str]


class Timing(msgspec.Struct, frozen=True):
    """How long a piece of work took, in seconds; `point` None: the judging of its group."""

    group: int
    point: int | None
    wall_s: float
    requests: int


Line = Fingerprint | PointResult | Judged
_LINES: msgspec.json.Decoder[Line] = msgspec.json.Decoder(Line)


def fingerprint(grid: Grid) -> Fingerprint:
    """Digests of the grid, the fleets with their calibration files, the traces, and the code that computes."""
    varied = (grid.axes, grid.loads, grid.seeds, grid.policies, grid.shares, grid.references)
    options = {name: getattr(grid.traffic, name) for name in grid.traffic.__slots__ if name != "traces"}
    inputs = {"grid": _digest(msgspec.json.encode((varied, options)))}
    for fleet in grid.fleets:
        tables = tomllib.loads(fleet.text).get("deployments", {}).values()
        calibrated = [fleet.folder / table["calibrated"] for table in tables if "calibrated" in table]
        inputs[f"fleet {fleet.name}"] = _digest(fleet.text.encode(), *(path.read_bytes() for path in calibrated))
    for name, path in grid.traffic.traces:
        inputs[f"trace of {name}"] = _file_digest(Path(path))
    inputs["headrace"] = f"{headrace.__version__} {_code_digest()}"
    return Fingerprint(1, inputs)


class Books:
    """What is finished so far, and where it is written.

    Attributes:
        points, judged: results by number of the point, of the group.
    """

    def __init__(self, finished: BinaryIO, timing: BinaryIO) -> None:
        self.points: dict[int, PointResult] = {}
        self.judged: dict[int, Judged] = {}
        self._finished = finished
        self._timing = timing

    def keep(self, done: Done) -> None:
        """Write one result; it survives whatever happens to this process afterwards."""
        if done.result is not None:
            self.remember(done.result)
            _append(self._finished, msgspec.json.encode(done.result))
            timing = Timing(done.work.group, done.work.point, done.wall_s, done.requests)
            _append(self._timing, msgspec.json.encode(timing), sync=False)

    def remember(self, result: PointResult | Judged) -> None:
        """Know of a result that is written already."""
        if isinstance(result, PointResult):
            self.points[result.number] = result
        else:
            self.judged[result.group] = result


@contextlib.contextmanager
def open_books(folder: Path, grid: Grid) -> Iterator[Books]:
    """The books in a folder, with what an earlier run finished; nobody else may write them meanwhile.

    Raises:
        ConfigError: another sweep is writing here, the folder holds another study, or a line within it is broken.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / FINISHED).open("a+b") as finished, (folder / TIMING).open("ab") as timing:
        try:
            fcntl.flock(finished, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigError(str(folder), [Fault(FINISHED, "another sweep writes here; wait, or --out")]) from error
        books = Books(finished, timing)
        _resume(books, finished, fingerprint(grid), folder)
        yield books


def _resume(books: Books, finished: BinaryIO, wanted: Fingerprint, folder: Path) -> None:
    finished.seek(0)
    content = finished.read()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):  # what a killed run was about to say
        finished.truncate(whole)
    lines = content[:whole].splitlines()
    if not lines:
        _append(finished, msgspec.json.encode(wanted))
        return
    for number, line in enumerate(lines, start=1):
        said = _decoded(line, number, folder)
        if number == 1:
            _check_same(said, wanted, folder)
        elif not isinstance(said, Fingerprint):
            books.remember(said)


def _decoded(line: bytes, number: int, folder: Path) -> Line:
    try:
        return _LINES.decode(line)
    except msgspec.MsgspecError as error:
        raise ConfigError(str(folder / FINISHED), [Fault(f"line {number}", f"{error}; {REMEDY}")]) from error


def _check_same(found: Line, wanted: Fingerprint, folder: Path) -> None:
    if not isinstance(found, Fingerprint):
        raise ConfigError(str(folder), [Fault(FINISHED, f"does not begin with a fingerprint; {REMEDY}")])
    names = [*wanted.inputs, *(name for name in found.inputs if name not in wanted.inputs)]
    differ = [name for name in names if found.inputs.get(name) != wanted.inputs.get(name)]
    if differ or found.schema != wanted.schema:
        said = f"holds a study begun with another {', another '.join(differ) or 'form of file'}"
        raise ConfigError(str(folder), [Fault(FINISHED, f"{said}: results must not be mixed; {REMEDY}")])


def _append(file: BinaryIO, line: bytes, sync: bool = True) -> None:
    file.write(line + b"\n")
    file.flush()
    if sync:
        os.fsync(file.fileno())


def _digest(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()[:16]


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def _code_digest() -> str:
    """Of every file of the package that a result may depend on: a version number does not change with each commit."""
    root = Path(headrace.__file__).parent
    files = [path for path in sorted(root.rglob("*")) if path.is_file() and _decides(path.relative_to(root))]
    return _digest(*(part for path in files for part in (str(path.relative_to(root)).encode(), path.read_bytes())))


def _decides(path: Path) -> bool:
    package = path.parts[0]
    if path.suffix == ".pyc" or package in NOT_IN_RESULTS:
        return False
    return package != "study" or path.name in IN_RESULTS
