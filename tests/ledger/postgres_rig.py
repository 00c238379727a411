"""A real PostgreSQL server of one test's own, on a socket in its folder: started, killed, and started again."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

USER = "postgres"  # the server refuses to run as root


def programs() -> Path | None:
    """Where the server's programs are, the newest version's; None: nowhere."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    on_path = shutil.which("postgres")
    return found[-1].parent if found else Path(on_path).parent if on_path else None


class Server:
    """A cluster in `folder`."""

    def __init__(self, bin_folder: Path, folder: Path) -> None:
        self._bin, self._folder = bin_folder, folder
        self._process: subprocess.Popen[bytes] | None = None
        self._user = USER if os.geteuid() == 0 else None
        quick = ("--no-sync", "--auth=trust", f"--username={USER}", f"--pgdata={folder / 'data'}")
        subprocess.run([bin_folder / "initdb", *quick], user=self._user, check=True, capture_output=True, cwd=folder)

    @property
    def url(self) -> str:
        return f"postgresql://{USER}@/postgres?host={self._folder}"

    def start(self) -> None:
        settings = (f"unix_socket_directories={self._folder}", "listen_addresses=", "fsync=off", "shared_buffers=16MB")
        options = [option for setting in settings for option in ("-c", setting)]
        with open(self._folder / "log", "ab") as log:
            command = [self._bin / "postgres", "-D", self._folder / "data", *options]
            self._process = subprocess.Popen(command, user=self._user, stdout=log, stderr=log, cwd=self._folder)
        asked = [self._bin / "pg_isready", "-q", "-t", "10", "-h", self._folder]
        for _ in range(200):
            if subprocess.run(asked, check=False).returncode == 0:
                return
            if self._process.poll() is not None:
                break
        raise AssertionError((self._folder / "log").read_text()[-2000:])

    def kill(self) -> None:
        """No goodbye: what was not committed is gone."""
        assert self._process is not None
        subprocess.run(
            [self._bin / "pg_ctl", "stop", "-s", "-m", "immediate", "-D", self._folder / "data"],
            user=self._user,
            check=True,
            cwd=self._folder,
        )
        self._process.wait(timeout=30)


@contextmanager
def postgres_server() -> Iterator[Server]:
    """A running server; skipped where there is none to be had, an error where there must be one."""
    bin_folder = programs()
    if bin_folder is None:
        if os.environ.get("HEADRACE_REQUIRE_POSTGRES"):
            pytest.fail("no PostgreSQL server is installed, and HEADRACE_REQUIRE_POSTGRES is set")
        pytest.skip("needs a PostgreSQL server: apt-get install postgresql")
    folder = Path(tempfile.mkdtemp(prefix="headrace-pg-"))
    try:
        if os.geteuid() == 0:
            account = pwd.getpwnam(USER)
            os.chown(folder, account.pw_uid, account.pw_gid)
        server = Server(bin_folder, folder)
        server.start()
        try:
            yield server
        finally:
            server.kill()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
