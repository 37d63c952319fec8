# SPDX-License-Identifier: MIT
"""The acceptor goes away, in every way it can, while 50 clients talk: none of them notices."""

import pytest

from machine import eventually
from service import ADOPTED, CONNECTED, LEFT, call, main_pid, receive, records, status, talk, worker_of
from talkers import Talkers

CROWD = 50
SUCCESSOR_SECONDS = 5  # within which it is there even on a busy machine; RestartSec= and a start are 0.3 s


def assert_complete(machine, talked):
    """Each client has one record of its coming and one of its going, with what the client counted."""
    def all_left():
        return {record["PEER"] for record in records(machine, LEFT)} >= talked.keys()
    eventually(all_left, "every client has left")

    came = [record for record in records(machine, CONNECTED) if record["PEER"] in talked]
    went = [record for record in records(machine, LEFT) if record["PEER"] in talked]
    assert len(came) == len(went) == len(talked)
    assert ({record["PEER"]: record["SESSION"] for record in came}
            == {record["PEER"]: record["SESSION"] for record in went})
    assert len({record["SESSION"] for record in went}) == len(talked)
    for record in went:
        counted = talked[record["PEER"]]
        assert record["REASON"] == "eof"
        assert record["LINES"] == str(counted["lines"])
        assert record["BYTES_RECEIVED"] == record["BYTES_SENT"] == str(counted["bytes"])


def assert_nobody_stays(machine, served):
    """Adopted workers leave with their last client: who is left are the acceptor's own spares."""
    eventually(lambda: status(machine) == f"0 clients, {served} served, 0 lost", "nobody there, none lost")
    acceptor = main_pid(machine)

    def only_spares():
        parents = machine.processes("echod")
        del parents[acceptor]
        return set(parents.values()) == {acceptor}
    eventually(only_spares, "no adopted workers")


def kill(machine):
    machine.kill(main_pid(machine), "KILL")


def hang(machine):
    machine.kill(main_pid(machine), "STOP")


def restart(machine):
    machine.run("systemctl", "restart", "echo.service")


@pytest.mark.parametrize("goes", [kill, restart])
def test_talking_clients_outlive_the_acceptor(echo, goes):
    crowd = Talkers(echo, CROWD)
    before = main_pid(echo)
    goes(echo)
    assert call(echo) < SUCCESSOR_SECONDS
    crowd.go_on()
    assert main_pid(echo) not in (0, before)
    adopted, = records(echo, ADOPTED)
    assert adopted["MESSAGE"].startswith(f"Adopted {CROWD} workers with ")
    eventually(lambda: status(echo) == f"{CROWD} clients, {CROWD + 1} served, 0 lost", "all are counted")
    assert_complete(echo, crowd.leave())
    assert_nobody_stays(echo, served=CROWD + 1)


def test_talking_clients_outlive_an_acceptor_that_hangs(echo):
    call(echo)
    assert echo.show("echo.service", "WatchdogUSec") == "10s"  # longer than a test wants to wait
    echo.drop_in("echo.service", "[Service]\nWatchdogSec=1s\n")
    restart(echo)
    crowd = Talkers(echo, CROWD)
    before = main_pid(echo)
    hang(echo)
    assert call(echo) < SUCCESSOR_SECONDS  # this one waited for the watchdog in the backlog
    crowd.go_on()
    assert main_pid(echo) not in (0, before)
    assert echo.show("echo.service", "NRestarts") == "1"
    assert_complete(echo, crowd.leave())
    assert_nobody_stays(echo, served=CROWD + 2)


def test_acceptor_answers_the_watchdog(machine):
    machine.drop_in("echo.service", "[Service]\nWatchdogSec=500ms\n")
    machine.run("systemctl", "start", "echo.socket")
    call(machine)
    acceptor = main_pid(machine)

    def answered():
        return int(machine.show("echo.service", "WatchdogTimestampMonotonic"))
    first = answered()
    # For four times as long as it may be silent.
    eventually(lambda: answered() > first + 2_000_000, "it goes on answering")
    assert main_pid(machine) == acceptor


@pytest.mark.parametrize("command", ["daemon-reload", "daemon-reexec"])
def test_talking_clients_outlive_a_systemd_that_starts_afresh(echo, command):
    crowd = Talkers(echo, CROWD)
    before = main_pid(echo)
    echo.run("systemctl", command)
    crowd.go_on()
    assert main_pid(echo) == before
    kill(echo)  # whether the descriptor store has come through shows now
    assert call(echo) < SUCCESSOR_SECONDS
    crowd.go_on()
    assert_complete(echo, crowd.leave())
    assert_nobody_stays(echo, served=CROWD + 1)


@pytest.mark.parametrize("restarts", [0, 1])  # the clients' workers are the killed acceptor's own, or adopted
def test_clients_that_leave_while_no_acceptor_lives_are_on_record(machine, restarts):
    machine.drop_in("echo.service", "[Service]\nRestartSec=3s\n")
    machine.run("systemctl", "start", "echo.socket")
    crowd = Talkers(machine, CROWD)
    for _ in range(restarts):
        restart(machine)
    crowd.go_on()
    kill(machine)
    eventually(lambda: machine.show("echo.service", "SubState") == "auto-restart", "no acceptor")
    talked = crowd.leave()
    assert main_pid(machine) == 0
    assert_complete(machine, talked)
    assert_nobody_stays(machine, served=CROWD)


def test_ten_kills_in_a_row_leave_everybody_served(echo):
    """systemd's default start limit gives up after five in ten seconds."""
    crowd = Talkers(echo, CROWD)
    for _ in range(10):
        before = main_pid(echo)
        kill(echo)
        assert call(echo) < SUCCESSOR_SECONDS
        assert main_pid(echo) not in (0, before)
    crowd.go_on()
    assert_complete(echo, crowd.leave())
    assert_nobody_stays(echo, served=CROWD + 10)


def held_by_the_acceptor(machine):
    """Ports of clients that it has accepted, but not handed over."""
    rows = machine.run("ss", "-Htnp", "state", "established", "sport = :4040").splitlines()
    return {int(row.split()[3].rpartition(":")[2]) for row in rows if f"pid={main_pid(machine)}," in row}


def test_client_that_no_worker_can_take_is_served_by_the_next_acceptor(echo):
    echo.drop_in("echo.service", "[Service]\nEnvironment=ECHOD_OPTIONS=--workers=1\n")
    clients = [echo.connect()]
    talk(clients[0])
    worker = worker_of(echo, clients[0])
    echo.kill(worker, "STOP")

    def waiting():
        clients.append(echo.connect())
        clients[-1].sendall(b"hello\n")
        held = held_by_the_acceptor(echo) & held_by_the_acceptor(echo)  # not just on its way
        return [client for client in clients if client.getsockname()[1] in held]
    last, = eventually(waiting, "a client that waits")
    echo.run("systemctl", "restart", "echo.service")
    assert receive(last, 6) == b"hello\n"
    echo.kill(worker, "CONT")
    for client in clients[1:]:
        assert client is last or receive(client, 6) == b"hello\n"
    for client in clients:
        talk(client)
        client.close()
