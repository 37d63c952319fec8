# SPDX-License-Identifier: MIT
"""A booted systemd in a container of its own.

A Machine boots a root directory under systemd-nspawn, with an overlay in memory, so that the directory
stays as it is, and with a private network, so that ports clash with nobody's. Tests look at it from
outside: they run commands in it, open sockets in its network, and read its files and processes.
close() leaves nothing behind.
"""

import contextlib
import ctypes
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

BOOT_SECONDS = 60
LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000
_numbers = itertools.count(1)


def eventually(condition, what, seconds=15):
    """Polls until condition() is true, and returns its value. Fails when it has not become true in time."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.02)
    return value


def _cgroup_trees():
    """Where a container needs a group made by hand. A systemd on the host makes one when nspawn asks."""
    if Path("/run/systemd/system").exists():
        return []
    top = Path("/sys/fs/cgroup")
    hybrid = [top / "unified", top / "systemd"]
    return hybrid if hybrid[0].exists() else [top]


def _children(pid):
    try:
        return list(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))
    except OSError:
        return []


class Machine:
    def __init__(self, root):
        self.name = f"echod-test-{os.getpid()}-{next(_numbers)}"
        self.leader = None
        self._helpers = []
        self._groups = [tree / self.name for tree in _cgroup_trees()]
        try:
            self._boot(root)
        except BaseException:
            self.close()
            raise

    def _boot(self, root):
        for group in self._groups:
            group.mkdir()

        def join_groups():
            for group in self._groups:
                (group / "cgroup.procs").write_text(str(os.getpid()))

        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.bind("")  # the kernel picks an abstract name
            notify.settimeout(BOOT_SECONDS)
            self._nspawn = subprocess.Popen(
                # Should the tests be killed outright, setpriv has the container shut down.
                ["setpriv", "--pdeathsig", "TERM", "systemd-nspawn", "--quiet", "--boot",
                 f"--directory={root}", f"--machine={self.name}", "--volatile=overlay",
                 "--private-network", "--register=no", "--notify-ready=yes", "--console=pipe",
                 *(["--keep-unit"] if self._groups else [])],
                env={**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1",
                     "NOTIFY_SOCKET": "@" + notify.getsockname()[1:].decode()},
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                preexec_fn=join_groups, start_new_session=True)
            message = ""
            while "READY=1" not in message.splitlines():
                message = notify.recv(4096).decode()
                for line in message.splitlines():
                    if line.startswith("X_NSPAWN_LEADER_PID="):
                        self.leader = int(line.partition("=")[2])
        self.run("systemctl", "is-system-running", "--wait")

    def close(self):
        """Stops everything and waits until it is gone; the overlay goes with it."""
        for helper in self._helpers:
            helper.kill()
            helper.wait()
        if nspawn := getattr(self, "_nspawn", None):
            for pid in [self.leader] if self.leader else _children(nspawn.pid) or [nspawn.pid]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)  # the leader takes its whole pid namespace with it
            nspawn.wait(30)
        for group in self._groups:
            for directory, _, _ in os.walk(group, topdown=False):
                os.rmdir(directory)
        # nspawn itself leaves this one where /run is on a disk.
        shutil.rmtree(f"/run/systemd/nspawn/propagate/{self.name}", ignore_errors=True)

    # Programs

    def run(self, *command, status=0, seconds=30):
        """Runs a command in the container and returns what it wrote. status=None accepts any exit status."""
        done = subprocess.run(["nsenter", "--all", f"--target={self.leader}", *command], timeout=seconds,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, errors="backslashreplace")
        assert status is None or done.returncode == status, f"{command}: {done.returncode}\n{done.stdout}"
        return done.stdout

    def start(self, *command, network_only=False, **popen):
        """Starts a command in the container, or a program of the host's in the container's network only."""
        where = "--net" if network_only else "--all"
        helper = subprocess.Popen(["nsenter", where, f"--target={self.leader}", *command], **popen)
        self._helpers.append(helper)
        return helper

    def kill(self, pid, signal_name):
        self.run("sh", "-c", f"kill -s {signal_name} {pid:d}")

    # Network

    @contextlib.contextmanager
    def network(self):
        """Sockets made inside `with machine.network():` belong to the container's network for good."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        away = os.open(f"/proc/{self.leader}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            if LIBC.setns(away, CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")
            yield
        finally:
            LIBC.setns(home, CLONE_NEWNET)
            os.close(home)
            os.close(away)

    def connect(self, port=4040, host="127.0.0.1", seconds=10):
        with self.network():
            return socket.create_connection((host, port), timeout=seconds)

    # Files and processes

    def path(self, absolute):
        return Path(f"/proc/{self.leader}/root{absolute}")

    def processes(self, name):
        """Pids, as the container numbers them, and their parents': {pid: parent}."""
        found = {}
        for directory in self.path("/proc").glob("[0-9]*"):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                pid, _, rest = (directory / "stat").read_text().partition(" (")
                comm, _, rest = rest.rpartition(") ")
                state, parent = rest.split()[:2]
                if comm == name and state != "Z":
                    found[int(pid)] = int(parent)
        return found

    # Units

    def show(self, unit, key):
        return self.run("systemctl", "show", "--value", f"--property={key}", unit).strip()

    def drop_in(self, unit, text):
        path = self.path(f"/etc/systemd/system/{unit}.d/test.conf")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        self.run("systemctl", "daemon-reload")

    def journal(self, unit="echo.service"):
        """All records of a unit, oldest first, each a dict."""
        self.run("journalctl", "--sync")
        command = "journalctl", "--unit", unit, "--output=json", "--all", "--no-pager", "--quiet"
        try:
            text = self.run(*command)
        except AssertionError:  # journald may have removed a file just as it was read
            text = self.run(*command)
        return [json.loads(line) for line in text.splitlines()]
