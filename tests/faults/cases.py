# SPDX-License-Identifier: MIT
"""One service, its clients, and the rules that hold while one of its system calls fails and after."""

import contextlib
import math
import os
import signal
import time
from typing import NamedTuple

from clients import Talker, Visit, holder, idle
from injection import Injection
from manager import Manager, await_exit, cpu_seconds, is_running

LONG = os.environ.get("ECHOD_TEST_LONG") == "1"
RECOVERY_SECONDS = 1.0 if LONG else 4.0  # the short run shares its machine, and must not fail for that
WORKERS_SECONDS = 5.0  # until there are as many workers as there should be: nobody waits for these
FAULT_RECORD_SECONDS = 1.0  # between two records of a failed call
MET_SECONDS = 10.0  # a fault that has not been met by then is not met at all
CPU_MOST = 0.5
FAILURES_MOST = 3000  # a second; under strace a process that spins fails 20,000 times or more
NOTICED_SECONDS = 0.3  # what a start that neither serves nor ends is given


class Fault(NamedTuple):
    process: str
    phase: str
    call: str
    errno: str
    when: str
    words: frozenset = frozenset()

    def __str__(self):
        return f"{self.process} {self.phase}: {self.call} = {self.errno}, when={self.when}"

    def lasts(self):
        return self.when.endswith("+") or ".." in self.when


class Lane:
    """Talkers[0] has a worker for itself (and visitors); the others are not to notice a fault in it."""
    KEEPS = True
    RUNNER = ()
    LOGS_TO_JOURNAL = False
    WORKERS = 0
    TALKERS = 0

    def __init__(self):
        self.manager = None
        self.talkers = []
        self.failures = []
        self.unreal = False  # what the fault did is not possible but under strace (injection.py)

    def open(self):
        if self.manager is None:
            self.manager = Manager(f"--workers={self.WORKERS}", "--drain-timeout=1s", keeps=self.KEEPS,
                                   runner=self.RUNNER, logs_to_journal=self.LOGS_TO_JOURNAL)
            self.manager.serve()
            self.talkers = [Talker(self.manager.address) for _ in range(self.TALKERS)]
            self.await_workers()

    def close(self):
        for talker in self.talkers:
            talker.leave()
        if self.manager is not None:
            self.manager.stop()
        self.manager, self.talkers = None, []

    def run(self, fault, window):
        """Returns what went wrong."""
        self.failures, self.unreal = [], False
        self.open()
        manager, began = self.manager, time.monotonic()
        try:
            self.attempt(fault, window)
        except (AssertionError, OSError) as error:
            self.fail(f"{error!r}")
        if self.failures:
            told = manager.told(began, time.monotonic())[-6:]
            self.close()
            return ["\n    ".join([f"{fault}: " + "; ".join(self.failures), *told])]
        if self.unreal:
            self.close()
        return []

    def fail(self, text):
        self.failures.append(text)

    def attempt(self, fault, window):
        raise NotImplementedError

    def await_workers(self):
        deadline = time.monotonic() + WORKERS_SECONDS
        counts = 0, 0
        while counts != (self.WORKERS, self.WORKERS) and time.monotonic() < deadline:
            time.sleep(0.005)
            counts = len(self.manager.children()), len(self.manager.workers())
        if counts != (self.WORKERS, self.WORKERS):
            self.fail(f"{counts[0]} children, {counts[1]} of them alive, instead of {self.WORKERS} workers")

    def status_is_right(self):
        """Every session that is over is forgotten. To be called when some cases are through."""
        clients = sum(not talker.lost for talker in self.talkers)
        if self.manager is None or self.manager.await_status(f"{clients} clients", WORKERS_SECONDS):
            return []
        status = self.manager.status
        self.close()
        return [f"{clients} clients are connected, but STATUS={status}"]


class SteadyLane(Lane):
    """Faults in a process that serves."""

    def attempt(self, fault, window):
        self.prepare()
        target = self.target()
        acceptor = self.manager.pid
        pids = {acceptor, target}
        began, cpu = time.monotonic(), {pid: cpu_seconds(pid) for pid in pids}
        with self.inject(fault, target) as injected:
            pending = self.traffic(fault, injected, window)
            cpu = {pid: cpu_seconds(pid) - cpu[pid] for pid in pids}
        ended, self.unreal = time.monotonic(), injected.unreal

        if injected.count == 0:
            self.fail("the call was not made")
        if not is_running(acceptor):
            self.restart(pending)
        for pid in pids:
            if cpu[pid] > 0.05 + CPU_MOST * (ended - began):
                self.fail(f"{cpu[pid]:.2f} s of CPU time in {ended - began:.2f} s")
        if injected.count > FAILURES_MOST * (ended - began) and "brief" not in fault.words:
            self.fail(f"{injected.count} calls in {ended - began:.2f} s")
        self.check_lines(fault, began, ended)
        self.check_recovery(pending, ended + RECOVERY_SECONDS)
        if not self.unreal:
            self.await_workers()

    def inject(self, fault, target):
        follow = fault.phase == "start"
        return Injection(self.manager.pid if follow else target, fault, follow)

    def restart(self, pending):
        """As the unit does. Whoever had been handed over notices nothing; one just accepted is lost."""
        status = self.manager.end()
        if not self.unreal:
            self.fail(f"the acceptor has gone: {status}")
        for visit in [visit for visit in pending if visit.wait(0)]:
            pending.remove(visit)
        self.manager.serve()

    def check_lines(self, fault, began, ended):
        told = self.manager.told(began, ended)
        if len(told) > 1 + math.ceil(ended - began):
            self.fail(f"{len(told)} lines in {ended - began:.2f} s: {told[:4]}")
        if fault.lasts() and not self.is_told(fault, began):
            self.fail("nothing was logged")

    def is_told(self, fault, began):
        """A record of the same kind may have been written just before."""
        return "quiet" in fault.words or self.manager.told(began - FAULT_RECORD_SECONDS, time.monotonic())

    def visit(self, kind, pending, seconds=0.05):
        visit = Visit(self.manager.address, kind)
        if visit.wait(seconds):
            self.judge(visit)
        else:
            pending.append(visit)

    def traffic(self, fault, injected, window):
        """Until the fault has been met and, if it lasts, the window is over and the service has said so.

        Returns who still waits.
        """
        began, pending, turn = time.monotonic(), [], 0
        # a socket that stays open sends no FIN
        kinds = [kind for kind in self.KINDS if kind != "tail" or fault.call != "close"]
        while time.monotonic() < began + max(window, MET_SECONDS):
            if injected.count > 0 and (not fault.lasts() or time.monotonic() >= began + window
                                       and self.is_told(fault, began)):
                break
            if turn % 6 == 0 and not pending:
                self.renew_a_worker()
            if len(pending) < 4:
                self.visit(kinds[turn % len(kinds)], pending)
            elif pending[0].wait(0.02):
                self.judge(pending.pop(0))
            turn += 1
            injected.await_count(1 << 30, 0.005)
        return pending

    def renew_a_worker(self):
        """So that workers end, are waited for and are started while the fault lasts."""
        for pid in idle(self.manager.workers())[:1]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
            await_exit(pid, 0.2)

    def check_recovery(self, pending, deadline):
        def left():
            return max(0.05, deadline - time.monotonic())
        if not self.unreal:
            self.visit("line", pending, left())
        for visit in pending:
            if visit.wait(0 if self.unreal else left()):
                self.judge(visit)
            else:
                visit.close()
                if not self.unreal:
                    self.fail("a client that came during the fault still waits")
        for i, talker in enumerate(self.talkers):
            self.judge_talker(i, talker.goes_on(left()))

    def judge(self, visit):
        if visit.wrong or visit.lost:
            self.fail(f"a visitor: {visit.wrong or visit.lost}")

    def judge_talker(self, i, trouble):
        if trouble:
            self.fail(f"client {i}: {trouble}")


class AcceptorLane(SteadyLane):
    """Faults in the acceptor; or in workers as they start, which then lose a visitor given to them."""
    WORKERS = 6
    TALKERS = 2
    KINDS = ("line", "tail")

    def attempt(self, fault, window):
        self._may_lose_visitors = fault.process == "worker" or "inherited" in fault.words
        super().attempt(fault, window)

    def judge(self, visit):
        if visit.wrong or not self._may_lose_visitors:
            super().judge(visit)

    def prepare(self):
        pass

    def target(self):
        return self.manager.pid


class JournalLane(AcceptorLane):
    """The acceptor's records go to journald's socket, whether anybody reads that or not."""
    LOGS_TO_JOURNAL = True


class WorkerLane(SteadyLane):
    WORKERS = 2
    TALKERS = 3
    KINDS = ("line", "tail", "bulk")
    lost_visitors = 0

    def prepare(self):
        """The one whose worker was lost comes back, and gets the worker that has fewest."""
        if self.talkers[0].lost:
            self.talkers[0] = Talker(self.manager.address)
        if not self._one_is_alone():
            self.close()
            self.open()
            assert self._one_is_alone()

    def _one_is_alone(self):
        """Puts first whoever has a worker for itself. Returns whether there is one."""
        pids = self.manager.workers()
        holders = [holder(pids, talker.socket) for talker in self.talkers]
        self.talkers.sort(key=lambda talker: holders.count(holder(pids, talker.socket)))
        return holders.count(holder(pids, self.talkers[0].socket)) == 1

    def target(self):
        return holder(self.manager.workers(), self.talkers[0].socket)

    def renew_a_worker(self):
        pass

    def judge(self, visit):
        self.lost_visitors += bool(visit.lost)
        if visit.wrong:
            self.fail(f"a visitor: {visit.wrong}")

    def judge_talker(self, i, trouble):
        if trouble and not (i == 0 and self.talkers[0].lost):
            self.fail(f"client {i}: {trouble}")
