# SPDX-License-Identifier: MIT
"""Whatever happens to the service, again and again: the socket goes on listening."""

from machine import eventually
from service import LEFT, REFUSED, Knocker, call, left, main_pid, name, records, status, talk
from talkers import Talkers

THOUSAND = 1000

# It dies before it can say that it is ready, and is started again even faster than usual.
CRASHING = "[Service]\nRestartSec=10ms\nExecStart=\nExecStart=/bin/sh -c 'kill -SEGV $$$$'\n"


def restarts(machine):
    return int(machine.show("echo.service", "NRestarts"))


def test_twenty_stops_in_a_row_leave_the_socket_listening(echo):
    """As fast as systemd can, which takes 2 to 4 s, unless others keep the machine busy."""
    call(echo)
    with Knocker(echo) as knocker:
        for _ in range(20):
            echo.run("systemctl", "stop", "echo.service")
            echo.run("systemctl", "start", "echo.service")
        call(echo)
    assert knocker.failures == []
    assert knocker.answered > 20
    assert echo.show("echo.socket", "ActiveState") == "active"


def test_twenty_crashing_starts_leave_the_socket_listening(echo):
    with echo.connect() as old:
        talk(old)
        echo.drop_in("echo.service", CRASHING)
        echo.kill(main_pid(echo), "KILL")
        with echo.connect(seconds=60) as patient:
            patient.sendall(b"I can wait\n")
            eventually(lambda: restarts(echo) >= 20, "20 starts", seconds=30)
            assert echo.show("echo.socket", "ActiveState") == "active"
            talk(old)
            echo.drop_in("echo.service", "")
            echo.run("systemctl", "restart", "echo.service")
            assert patient.recv(100) == b"I can wait\n"
        talk(old)
        peer = name(old)
    record = left(echo, peer)
    assert (record["REASON"], record["LINES"]) == ("eof", "3")
    call(echo)


def test_a_bad_option_is_named_tried_seldom_and_can_be_corrected(echo):
    echo.drop_in("echo.service", "[Service]\nEnvironment=ECHOD_OPTIONS=--workers=0\n")
    with echo.connect(seconds=60) as patient:
        patient.sendall(b"I can wait\n")
        eventually(lambda: len(records(echo, REFUSED)) == 2, "two attempts")
        first, second = records(echo, REFUSED)
        assert "--workers" in first["MESSAGE"]
        assert "4096" in first["MESSAGE"]  # what would be right
        took = int(second["__REALTIME_TIMESTAMP"]) - int(first["__REALTIME_TIMESTAMP"])
        assert took >= 60e6 / 12  # us: 12 attempts a minute
        assert any("code=exited, status=2/" in record["MESSAGE"] for record in echo.journal())
        assert echo.show("echo.socket", "ActiveState") == "active"

        echo.drop_in("echo.service", "[Service]\nEnvironment=ECHOD_OPTIONS=--workers=1\n")
        echo.run("systemctl", "restart", "echo.service")
        assert patient.recv(100) == b"I can wait\n"
    call(echo)


def test_a_thousand_talking_clients_outlive_all_that_systemd_does(echo):
    """And when it stops the service, they are answered to the last byte."""
    crowd = Talkers(echo, THOUSAND, thinking=0.2)
    for command in (["restart", "echo.service"], ["daemon-reload"], ["daemon-reexec"],
                    ["kill", "--kill-who=main", "--signal=KILL", "echo.service"]):
        echo.run("systemctl", *command)
        call(echo)
        crowd.go_on()
    eventually(lambda: status(echo).startswith(f"{THOUSAND} clients, {THOUSAND + 4} served, 0 lost"), "all there")
    crowd.sent_off_by(lambda: echo.run("systemctl", "stop", "echo.service"))
    eventually(lambda: not echo.processes("echod"), "no process left")
    reasons = [record["REASON"] for record in records(echo, LEFT)]
    assert (reasons.count("drain"), len(reasons)) == (THOUSAND, THOUSAND + 4)
