# SPDX-License-Identifier: MIT
"""The journal fails, in every way it can: nobody waits for it, and what is not on record is counted."""

import contextlib
import threading
import time

import pytest

from machine import eventually
from service import CONNECTED, LEFT, RECORDS_LOST, call, left, name, records, talk
from talkers import Talkers

ANSWER_SECONDS = 5
CALLS = 300  # 600 records: more than the journal's socket takes
SOCKETS = ["systemd-journald.socket", "systemd-journald-dev-log.socket", "systemd-journald-audit.socket"]


def journald(machine):
    return int(machine.show("systemd-journald.service", "MainPID"))


@contextlib.contextmanager
def stopped(machine):
    pid = journald(machine)
    machine.kill(pid, "STOP")
    try:
        yield
    finally:
        machine.kill(pid, "CONT")


@contextlib.contextmanager
def slow(machine):
    """It runs for a twentieth of the time."""
    pid, enough = journald(machine), threading.Event()

    def slow_down():
        while not enough.wait(0.01):
            machine.kill(pid, "STOP")
            enough.wait(0.2)
            machine.kill(pid, "CONT")
    thread = threading.Thread(target=slow_down)
    thread.start()
    try:
        yield
    finally:
        enough.set()
        thread.join()


@contextlib.contextmanager
def gone(machine):
    machine.run("systemctl", "stop", *SOCKETS, "systemd-journald.service")
    try:
        yield
    finally:
        machine.run("systemctl", "start", *SOCKETS, "systemd-journald.service")


def count(machine):
    lost = sum(int(record["RECORDS"]) for record in records(machine, RECORDS_LOST))
    return len(records(machine, CONNECTED)) + len(records(machine, LEFT)), lost


@pytest.mark.parametrize("fails", [stopped, slow, gone])
def test_a_journal_that_fails_holds_up_nobody_and_loses_no_record_untold(echo, fails):
    with echo.connect() as witness:
        talk(witness)
        with fails(echo):
            for _ in range(CALLS):
                assert call(echo) < ANSWER_SECONDS
            talk(witness)
        eventually(lambda: sum(count(echo)) >= 1 + 2 * CALLS, "every record is there, or is counted as lost")
        assert sum(count(echo)) == 1 + 2 * CALLS
        talk(witness)


def test_a_full_journal_holds_up_nobody(echo):
    """What it took and could not keep, nobody counts; what comes when it has room again is on record."""
    call(echo)
    echo.run("systemctl", "stop", *SOCKETS, "systemd-journald.service")
    echo.path("/etc/systemd/journald.conf").write_text("[Journal]\nStorage=volatile\nRuntimeMaxFileSize=512K\n")
    echo.run("mount", "-t", "tmpfs", "-o", "size=4m", "full", "/run/log/journal")
    echo.run("systemctl", "start", *SOCKETS, "systemd-journald.service")
    call(echo)
    eventually(lambda: records(echo, LEFT), "a record")
    echo.run("dd", "if=/dev/zero", "of=/run/log/journal/filler", "bs=64k", status=1)  # no space left
    with echo.connect() as witness:
        talk(witness)
        for _ in range(2 * CALLS):
            assert call(echo) < ANSWER_SECONDS
        talk(witness)
        # Or it has never been full. What is in a full journal, journalctl may not be able to read.
        kept = echo.run("journalctl", "--quiet", "--output=cat", f"MESSAGE_ID={LEFT}", status=None)
        assert kept.count(" left: ") < 2 * CALLS
        echo.run("rm", "/run/log/journal/filler")
        echo.run("systemctl", "restart", "systemd-journald.service")
        peer = name(witness)
    left(echo, peer)


@pytest.mark.long
def test_what_a_journal_misses_for_minutes_is_counted(echo):
    """5000 records a minute come about clients; the backlog holds somewhat more."""
    echo.drop_in("systemd-journald.service", "[Service]\nWatchdogSec=0\n")  # it would be killed after 3 minutes
    echo.run("systemctl", "restart", "systemd-journald.service")
    crowd = Talkers(echo, 10)
    calls, until = 0, time.monotonic() + 130
    with stopped(echo):
        while time.monotonic() < until:
            calls += 1
            assert call(echo) < ANSWER_SECONDS
    crowd.go_on()

    def told():
        written, lost = count(echo)
        held_back = sum(int(record["RECORDS"]) for record in echo.journal() if "held back" in record["MESSAGE"])
        return written + lost + held_back
    eventually(lambda: told() >= 10 + 2 * calls, "every record is there, or is counted", seconds=90)
    assert count(echo)[1] > 0
    assert told() == 10 + 2 * calls
    crowd.leave()
