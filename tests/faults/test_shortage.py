# SPDX-License-Identifier: MIT
"""What the service needs runs out for a while: processes, descriptors, memory. For the rules see cases.py."""

import os
import re
import resource
import shutil
import subprocess
import time
from pathlib import Path

import pytest

import manager
from cases import LONG, AcceptorLane, Fault, WorkerLane

WINDOW = 60.0 if LONG else 1.0
STRANGER = 54321  # a user of whom nobody has heard; root's processes are not counted
BY_STRANGER = "setpriv", f"--reuid={STRANGER}", f"--regid={STRANGER}", "--clear-groups"


# as /proc/PID/limits says it
NAMES = {"nproc": "Max processes", "nofile": "Max open files", "as": "Max address space"}


class Limit:
    """A process has no more than `most` of something in the with block. family(): it, and its children."""
    count, unreal = 1, False  # as with an Injection: it is met at once

    def __init__(self, family, kind, most, runner):
        self._family, self._kind, self._most, self._runner = family, kind, most, runner
        limits = Path(f"/proc/{family()[0]}/limits").read_text()
        self._before = re.search(rf"^{NAMES[kind]} +(\w+)", limits, re.MULTILINE)[1]

    def _set(self, pid, soft):
        command = [*self._runner, "prlimit", f"--pid={pid}", f"--{self._kind}={soft}:"]
        return subprocess.run(command).returncode

    def await_count(self, _, seconds):
        time.sleep(seconds)

    def __enter__(self):
        assert self._set(self._family()[0], self._most) == 0
        return self

    def __exit__(self, *_):
        for pid in self._family():  # a child has its parent's limits, and may have gone meanwhile
            self._set(pid, self._before)


def highest_descriptor(pid):
    return max(map(int, os.listdir(f"/proc/{pid}/fd")))


def address_space(pid):
    return int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()


def processes_of(user):
    return sum(path.stat().st_uid == user for path in Path("/proc").glob("[0-9]*/stat"))


def limited(lane_class, kind, measure, runner=()):
    class LimitedLane(lane_class):
        RUNNER = runner

        def inject(self, fault, target):
            def family():
                return [target, *(self.manager.workers() if target == self.manager.pid else [])]
            return Limit(family, kind, measure(target), runner)
    return LimitedLane()


def run(lane, process, what, *words):
    fault = Fault(process, "steady", what, "exhausted", "1+", frozenset(words))
    try:
        troubles = lane.run(fault, WINDOW) or lane.status_is_right()
    finally:
        lane.close()
    assert not troubles, "\n".join(troubles)


@pytest.fixture
def program_for_everybody(tmp_path_factory, monkeypatch):
    directory = tmp_path_factory.mktemp("program")
    for parent in (directory, *directory.parents):
        if parent.name.startswith("pytest-"):
            parent.chmod(0o755)
    directory.chmod(0o755)
    monkeypatch.setattr(manager, "PROGRAM", shutil.copy(manager.PROGRAM, directory))


@pytest.mark.skipif(os.geteuid() != 0, reason="another user is needed, whose processes are counted")
def test_service_outlives_a_time_without_a_fork(program_for_everybody):
    lane = limited(AcceptorLane, "nproc", lambda _: processes_of(STRANGER) - 3, BY_STRANGER)
    run(lane, "acceptor", "RLIMIT_NPROC")


def test_service_outlives_a_time_without_descriptors_for_the_acceptor():
    run(limited(AcceptorLane, "nofile", lambda pid: highest_descriptor(pid) + 1),
        "acceptor", "RLIMIT_NOFILE")


def test_others_outlive_a_time_without_descriptors_for_a_worker():
    lane = limited(WorkerLane, "nofile", lambda pid: highest_descriptor(pid) + 1)
    run(lane, "worker", "RLIMIT_NOFILE", "quiet")
    assert lane.lost_visitors > 0


def test_others_outlive_a_time_without_memory_for_a_worker():
    lane = limited(WorkerLane, "as", address_space)
    run(lane, "worker", "RLIMIT_AS", "quiet")
    assert lane.lost_visitors > 0


def test_service_outlives_a_time_without_memory_for_the_acceptor():
    run(limited(AcceptorLane, "as", address_space), "acceptor", "RLIMIT_AS", "quiet", "inherited")


def badness(pid):
    return int(Path(f"/proc/{pid}/oom_score_adj").read_text())


def test_kernel_short_of_memory_takes_a_worker_before_the_acceptor():
    service = manager.Manager("--workers=2")
    try:
        acceptor = service.serve()
        workers = manager.eventually(service.workers, "worker")
        manager.eventually(lambda: badness(workers[0]) > badness(acceptor), "worker that goes first")
    finally:
        service.stop()
