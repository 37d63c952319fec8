# SPDX-License-Identifier: MIT
"""Stopped, the service gives every client what it is owed, then FIN, and is gone."""

import fcntl
import socket
import struct
import termios
import time

import pytest

from machine import eventually
from service import LEFT, call, left, main_pid, name, receive_all, records, talk

TCP_CLOSE = 7


def unacknowledged(client):
    """Bytes that the other side's kernel has not yet confirmed."""
    return struct.unpack("i", fcntl.ioctl(client, termios.TIOCOUTQ, b"\0" * 4))[0]


def assert_closes_without_reset(client):
    """Closes this side too, after the service has closed its own, and waits until the connection is over."""
    client.sendall(b"too late")  # is discarded: it is no reason for a reset
    client.shutdown(socket.SHUT_WR)

    def over():
        return client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == TCP_CLOSE
    eventually(over, "the connection is over")
    assert client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0


def fill(client):
    """Sends lines, and reads none, until nothing more goes through. Returns what has been sent."""
    sent = bytearray()
    client.setblocking(False)
    try:
        while True:
            line = b"%d bottles of beer on the wall\n" % len(sent)
            sent += line[:client.send(line)]
    except BlockingIOError:
        client.settimeout(10)
    return bytes(sent)


@pytest.mark.parametrize("unit", ["echo.service", "echo.socket"])
def test_stop_answers_what_came_before_and_then_says_fin(echo, unit):
    with echo.connect() as client:
        talk(client)
        owed = b"".join(b"line %d\n" % i for i in range(1000)) + b"and an unterminated tail"
        client.sendall(owed)
        echo.run("systemctl", "stop", unit)
        assert receive_all(client) == owed
        assert_closes_without_reset(client)
        assert left(echo, name(client))["REASON"] == "drain"
    eventually(lambda: not echo.processes("echod"), "no process left")


def test_stop_gives_a_slow_reader_all_of_it(echo):
    with echo.connect() as client:
        talk(client)
        sent = fill(client)
        received = len(sent) - unacknowledged(client)
        echo.run("systemctl", "stop", "echo.service")
        echoed = receive_all(client)
        assert len(echoed) >= received > 1 << 16
        assert sent.startswith(echoed)
        client.shutdown(socket.SHUT_WR)
        assert left(echo, name(client))["REASON"] == "drain"
    eventually(lambda: not echo.processes("echod"), "no process left")


def test_stop_waits_for_nobody_beyond_the_drain_timeout(machine):
    machine.drop_in("echo.service", "[Service]\nEnvironment=ECHOD_OPTIONS=--drain-timeout=1s\n")
    machine.run("systemctl", "start", "echo.socket")
    with machine.connect() as silent, machine.connect() as stuck:
        talk(silent)
        talk(stuck)
        fill(stuck)
        began = time.monotonic()
        machine.run("systemctl", "stop", "echo.service")
        eventually(lambda: not machine.processes("echod"), "no process left", seconds=5)
        assert time.monotonic() - began >= 1
        assert left(machine, name(silent))["REASON"] == "timeout"
        assert left(machine, name(stuck))["REASON"] == "timeout"


def test_stop_between_two_acceptors_drains_too(machine):
    machine.drop_in("echo.service", "[Service]\nRestartSec=1min\n")
    machine.run("systemctl", "start", "echo.socket")
    with machine.connect() as client:
        talk(client)
        machine.kill(main_pid(machine), "KILL")
        eventually(lambda: machine.show("echo.service", "SubState") == "auto-restart", "no acceptor")
        talk(client)
        machine.run("systemctl", "stop", "echo.service")
        assert receive_all(client) == b""
        assert_closes_without_reset(client)
    eventually(lambda: not machine.processes("echod"), "no process left")


def test_stop_reaches_workers_of_every_generation(echo):
    clients = []
    for _ in range(3):
        clients.append(echo.connect())
        talk(clients[-1])
        echo.run("systemctl", "restart", "echo.service")
    for client in clients:
        talk(client)
        client.sendall(b"tail")
    echo.run("systemctl", "stop", "echo.service")
    for client in clients:
        assert receive_all(client) == b"tail"
        assert_closes_without_reset(client)
    eventually(lambda: not echo.processes("echod"), "no process left")
    assert sorted(record["REASON"] for record in records(echo, LEFT)) == ["drain"] * 3


def test_stopped_service_starts_for_the_next_client(echo):
    call(echo)
    echo.run("systemctl", "stop", "echo.service")
    assert echo.show("echo.service", "ActiveState") == "inactive"
    call(echo)
    assert echo.show("echo.service", "ActiveState") == "active"


def test_stopped_socket_refuses_the_next_connect(echo):
    call(echo)
    echo.run("systemctl", "stop", "echo.socket")
    assert echo.show("echo.service", "ActiveState") == "inactive"
    # A spare forked in this very moment holds a copy of the listening socket until it first runs.
    eventually(lambda: not echo.processes("echod"), "no process left")
    with pytest.raises(ConnectionRefusedError):
        echo.connect()
