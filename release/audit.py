"""Known weaknesses of what `requirements.lock` pins, as PyPI's advisories tell.

pip-audit finds nothing, too, where it could ask about nothing; so what it skipped counts, and is told apart.
Exit code 0: all were asked about, none has any; 1: some have; 3: some, or all, could not be asked about.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
WEAK, UNKNOWN = 1, 3
SHOWN = 5


def verdict(said: str) -> tuple[int, list[str]]:
    """The exit code, and what to print, of pip-audit's report; anything but a report means that nobody was reached."""
    try:
        packages: list[dict[str, Any]] = json.loads(said)["dependencies"]
    except ValueError:
        return UNKNOWN, ["audit: PyPI's advisories cannot be reached, so nothing was checked; run it where they can be"]
    weak, skipped = list(_weaknesses(packages)), [each["name"] for each in packages if "skip_reason" in each]
    lines = [
        *weak,
        f"audit: {len(packages) - len(skipped)} of {len(packages)} packages checked, {len(weak)} weaknesses",
    ]
    if skipped:
        first = ", ".join(skipped[:SHOWN]) + (" and others" if len(skipped) > SHOWN else "")
        lines.append(f"audit: PyPI's advisories do not answer for {first}; run it where they can be reached")
    return WEAK if weak else UNKNOWN if skipped else 0, lines


def _weaknesses(packages: list[dict[str, Any]]) -> Iterator[str]:
    for each in packages:
        for found in each.get("vulns", ()):
            fixed = ", ".join(found["fix_versions"]) or "no version"
            yield f"{each['name']} {each['version']}: {found['id']}, fixed in {fixed}"


def main() -> int:
    """Ask."""
    words = ["--requirement", str(ROOT / "requirements.lock"), "--disable-pip", "--format", "json"]
    asked = [str(Path(sys.executable).parent / "pip-audit"), *words, "--progress-spinner", "off"]
    code, lines = verdict(subprocess.run(asked, capture_output=True, text=True, check=False).stdout)
    print("\n".join(lines))
    return code


if __name__ == "__main__":
    sys.exit(main())
