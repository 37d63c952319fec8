# SPDX-License-Identifier: MIT
"""Faults while the acceptor starts, and while acceptor or worker stops."""

import math
import os
import re
import signal
import tempfile
import time
from pathlib import Path

import injection
from cases import CPU_MOST, MET_SECONDS, NOTICED_SECONDS, RECOVERY_SECONDS, WORKERS_SECONDS, Lane
from clients import Talker, Visit, holder
from injection import Injection
from manager import await_exit, cpu_seconds, is_running

# The program looks at its stderr first of all (JOURNAL_STREAM is set); what comes before is the loader's.
OWN_CALLS_BEGIN = re.compile(r"^(newfstatat|fstat)\(2,", re.MULTILINE)

ROLL_SECONDS = 0.5  # how long the acceptor waits for adopted workers to answer


class StartLane(Lane):
    """The next acceptor starts, and adopts the workers of the last one (phase adopt) or has none (start)."""
    WORKERS = 4

    def __init__(self, phase, journal):
        super().__init__()
        self.LOGS_TO_JOURNAL = journal
        self.adopts = phase == "adopt"
        self.TALKERS = 2 if self.adopts else 0
        self._calls = None

    def attempt(self, fault, window):
        manager = self.manager
        manager.kill()
        if not self.adopts:
            manager.empty_store()
        began = time.monotonic()
        with tempfile.NamedTemporaryFile() as trace:
            manager.start("strace", "-D", "-I", "2", "-o", trace.name, *injection.options(fault))
            self.await_fault(Path(trace.name))
            manager.await_ready(NOTICED_SECONDS + (ROLL_SECONDS if self.adopts else 0))
            status = manager.end(0)
            self.unreal = injection.UNREAL.search(Path(trace.name).read_text()) is not None
            self.check_start(fault, status, began, window)
        self.check_service(fault, status, began)

    def await_fault(self, trace):
        deadline, running = time.monotonic() + MET_SECONDS, True
        while "(INJECTED)" not in trace.read_text():
            if not running or time.monotonic() > deadline:
                self.fail("the call was not made")
                return
            time.sleep(0.005)
            running = is_running(self.manager.pid)

    def check_start(self, fault, status, began, window):
        """It serves, it ends, or it has said what is wrong and does nothing."""
        manager, pid = self.manager, self.manager.pid
        if status is None and manager.ready:
            if not fault.lasts() and not self.unreal:
                self.check_visit()
            else:
                await_exit(pid, window)
        elif status is not None and status < 0 and not self.unreal:
            self.fail(f"it was killed by signal {-status}")
        lasted = time.monotonic() - began
        if cpu_seconds(pid) > 0.1 + CPU_MOST * lasted:
            self.fail(f"{cpu_seconds(pid):.2f} s of CPU time in {lasted:.2f} s")
        if len(manager.told(began, time.monotonic())) > 4 + lasted:
            self.fail(f"too many lines in {lasted:.2f} s")
        silent = self.unreal or self.LOGS_TO_JOURNAL
        if status is not None and not silent and not manager.await_line("echod: ", RECOVERY_SECONDS, began):
            self.fail(f"it ended with status {status}, and nothing was logged")

    def check_service(self, fault, status, began):
        """After the fault; and after the start that the unit does, now or if the acceptor has gone."""
        manager = self.manager
        if status is None:
            injection.let_go(manager.pid)
        if status is None and "pauses" not in fault.words and not self.unreal:
            ended = time.monotonic()
            if manager.await_ready(RECOVERY_SECONDS):
                self.check_visit()
                self.check_talkers(ended)
                self.check_status()
            elif not self.has_given_up(began):
                self.fail("not ready in time after the fault's end")
        manager.kill()
        manager.serve()
        self.check_visit()
        self.check_talkers(time.monotonic())
        self.check_status()

    def has_given_up(self, began):
        """On a busy machine a start under strace may take its time to end."""
        return (self.manager.end(0) or 0) > 0 and (self.LOGS_TO_JOURNAL or self.manager.told(began, math.inf))

    def check_visit(self):
        visit = Visit(self.manager.address)
        if not visit.wait(RECOVERY_SECONDS):
            visit.close()
            self.fail("a client is not served in time")
        elif not visit.done:
            self.fail(f"a visitor: {visit.wrong or visit.lost}")

    def check_talkers(self, since):
        for i, talker in enumerate(self.talkers):
            trouble = talker.goes_on(max(0.05, since + RECOVERY_SECONDS - time.monotonic()))
            if trouble:
                self.fail(f"client {i}: {trouble}")

    def check_status(self):
        """Every adopted worker has told whom it serves."""
        if not self.manager.await_status(f"{len(self.talkers)} clients", WORKERS_SECONDS):
            self.fail(f"{len(self.talkers)} clients are connected, but STATUS={self.manager.status}")

    def status_is_right(self):
        return []  # it has been looked at each time

    def calls(self):
        """{call: (calls that the loader makes, calls in all)} until it is ready."""
        if self._calls is None:
            self.open()
            self.manager.kill()
            if not self.adopts:
                self.manager.empty_store()
            with tempfile.NamedTemporaryFile() as trace:
                self.manager.start("strace", "-D", "-I", "2", "-o", trace.name)
                assert self.manager.await_ready(5)
                text = Path(trace.name).read_text().partition("READY=1")[0]  # what follows may take its time
            own = OWN_CALLS_BEGIN.search(text).start()
            names = re.findall(r"^(\w+)\(", text, re.MULTILINE)
            before = re.findall(r"^(\w+)\(", text[:own], re.MULTILINE)
            self._calls = {name: (before.count(name), names.count(name)) for name in set(names)}
            injection.let_go(self.manager.pid)
        return self._calls


class StopLane(Lane):
    """SIGTERM while a call fails: to the acceptor, without a store, or to a worker."""
    WORKERS = 3
    TALKERS = 2

    def __init__(self, process, journal):
        super().__init__()
        self.LOGS_TO_JOURNAL = journal
        self.KEEPS = process == "worker"  # or the acceptor would not wait for the workers

    def attempt(self, fault, window):
        workers = self.manager.workers()
        first = holder(workers, self.talkers[0].socket)
        target = self.manager.pid if fault.process == "acceptor" else first
        before, began = cpu_seconds(target), time.monotonic()
        with Injection(target, fault) as injected:
            os.kill(target, signal.SIGTERM)
            await_exit(target, window)
            injected.await_count(1, 0)
            used, lasted = cpu_seconds(target) - before, time.monotonic() - began
        if injected.count == 0:
            self.fail("the call was not made")
        if is_running(target) and used > 0.05 + CPU_MOST * lasted:
            self.fail(f"{used:.2f} s of CPU time in {lasted:.2f} s, {injected.count} failures")
        told = self.manager.told(began, time.monotonic())
        if len(told) > 3 + lasted:
            self.fail(f"{len(told)} lines in {lasted:.2f} s: {told[:4]}")
        if fault.process == "acceptor":
            self.check_end(workers)
        else:
            self.check_worker_end(first)

    def check_end(self, workers):
        """A second signal ends the acceptor at once, and the workers drain and leave with it."""
        if is_running(self.manager.pid):
            os.kill(self.manager.pid, signal.SIGTERM)
        if self.manager.end(RECOVERY_SECONDS) is None:
            self.fail("the acceptor does not end")
        for talker in self.talkers:
            talker.leave()
        for pid in workers:
            if not await_exit(pid, 2 * RECOVERY_SECONDS):
                self.fail(f"worker {pid} does not leave")
        if any(talker.wrong for talker in self.talkers):
            self.fail("a client got what it had not sent")
        self.close()

    def check_worker_end(self, pid):
        """Its clients go, nobody else's, and it leaves."""
        self.talkers[0].leave()
        if not await_exit(pid, 2 * RECOVERY_SECONDS):
            self.fail(f"worker {pid} does not leave")
        if self.talkers[0].wrong:
            self.fail(self.talkers[0].wrong)
        trouble = self.talkers[1].goes_on(RECOVERY_SECONDS)
        if trouble:
            self.fail(f"client 1: {trouble}")
        self.talkers[0] = Talker(self.manager.address)
        self.await_workers()
