# SPDX-License-Identifier: MIT
"""Lives of the service under strace, in which everything happens to it that can: which calls does it make?"""

import os
import re
import signal
import socket
import tempfile
from pathlib import Path

from clients import Talker, Visit, holder, idle
from manager import Manager, eventually
from starts import OWN_CALLS_BEGIN

STOPPING = re.compile(  # SIGTERM, or a hang-up
    r'^(read\(\d+, "\\17\\0|recvmsg\(3, .* = 0$|(recv|send)msg\(3, .* = -1 E(PIPE|CONNRESET) )', re.MULTILINE)
CALL = re.compile(r"^(\w+)\(", re.MULTILINE)


class Trace:
    """What each process of a service calls, collected as {(process, phase): {call: an example}}."""

    def __init__(self):
        self.calls = {}
        self._directory = tempfile.TemporaryDirectory()

    def tracer(self, name):
        return "strace", "-D", "-ff", "-e", "signal=none", "-o", f"{self._directory.name}/{name}"

    def collect(self, name, acceptor, phase):
        for path in Path(self._directory.name).glob(f"{name}.*"):
            text = path.read_text(errors="replace")
            if path.suffix == f".{acceptor}":
                text = text[OWN_CALLS_BEGIN.search(text).start():]
                ready = "READY=1" if "READY=1" in text else "Accepting connections"
                self._cut("acceptor", text, phase, re.compile(ready))
            else:
                self._cut("worker", text, "start", re.compile("^epoll_wait", re.MULTILINE))

    def _cut(self, process, text, phase, ready):
        found = ready.search(text)
        start = found.end() if found else len(text)
        found = STOPPING.search(text, start)
        stop = found.start() if found else len(text)
        for name, part in ((phase, text[:start]), ("steady", text[start:stop]), ("stop", text[stop:])):
            for line in part.splitlines():
                call = CALL.match(line)
                if call:
                    self.calls.setdefault((process, name), {}).setdefault(call[1], line)


def busy_life(trace):
    """Clients of every kind, lost and adopted workers, limits and timeouts; then a stop under systemd."""
    manager = Manager("--workers=4", "--max-clients=7", "--max-clients-per-source=6", "--idle-timeout=500ms",
                      "--send-timeout=500ms", "--drain-timeout=1s", environment={"WATCHDOG_USEC": "400000"})
    pids = {}
    try:
        pids["start"] = manager.start(*trace.tracer("start"))
        assert manager.await_ready(20)
        talkers = [Talker(manager.address) for _ in range(2)]
        for kind in ("line", "tail", "bulk"):
            assert Visit(manager.address, kind).wait(20)
        lose_a_worker(manager)
        too_many_and_too_slow(manager)
        for pid in idle(manager.workers())[:1]:
            os.kill(pid, signal.SIGTERM)
        manager.kill()

        pids["adopt"] = manager.start(*trace.tracer("adopt"))
        assert manager.await_ready(20)
        assert Visit(manager.address).wait(20)
        with socket.create_connection(manager.address) as silent:
            for client in (silent, talkers[0].socket):
                pid = eventually(lambda: holder(list(manager.started), client), "worker that serves a client")
                os.kill(pid, signal.SIGTERM)
            for talker in talkers:
                talker.leave()
            manager.kill(signal.SIGTERM)
    finally:
        manager.stop()
    for phase, pid in pids.items():
        trace.collect(phase, pid, phase)


def too_many_and_too_slow(manager):
    """More clients than the limits allow; one that says nothing and one that does not read are ended."""
    with socket.create_connection(manager.address, timeout=5) as silent:
        slow = Visit(manager.address, "bulk")
        slow.wait(0)
        crowd = [Visit(manager.address, "tail") for _ in range(8)]
        assert silent.recv(1) == b""
        for visit in (*crowd, slow):
            assert visit.wait(5)


def lose_a_worker(manager):
    victim = Talker(manager.address)
    os.kill(eventually(lambda: holder(manager.workers(), victim.socket), "worker that serves a client"),
            signal.SIGKILL)
    assert manager.await_line(" lost with ", 5)
    victim.leave()


def life_without_systemd(trace):
    """Stopped by SIGTERM, with a client that is waited for."""
    manager = Manager("--workers=2", "--drain-timeout=1s", keeps=False)
    try:
        pid = manager.start(*trace.tracer("alone"))
        assert manager.await_ready(20)
        talker = Talker(manager.address)
        os.kill(pid, signal.SIGTERM)
        eventually(lambda: talker.lost, "end of the drain")
        talker.leave()
        assert manager.end(5) == 0
    finally:
        manager.stop()
    trace.collect("alone", pid, "start")


def life_with_journal(trace):
    manager = Manager("--workers=2", logs_to_journal=True)
    try:
        pid = manager.start(*trace.tracer("journal"))
        assert manager.await_ready(20)
        talker = Talker(manager.address)
        os.kill(eventually(lambda: holder(manager.workers(), talker.socket), "worker"), signal.SIGTERM)
        eventually(lambda: talker.lost, "end of the drain")
        talker.leave()
    finally:
        manager.stop()
    trace.collect("journal", pid, "start")
