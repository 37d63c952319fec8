# SPDX-License-Identifier: MIT
"""The receiver as its clients and its administrator meet it; into the journal, and into a file."""

import os
import pty
import socket
import threading
import time

import pytest

from machine import eventually
from service import ADOPTED, LEFT, LINE, LISTENING, SINK_LOST, WORKER_LOST, left, main_pid, name, records, status
from test_first_use import read_until

UNIT = "receiver.service"
PORT = 4041
OUTPUT = "/var/log/lines"  # not /tmp: the service has one of its own
INTO_A_FILE = f"[Service]\nEnvironment=RECEIVERD_OPTIONS='--sink=stdout --prefix'\nStandardOutput=append:{OUTPUT}\n"


def lines(machine, unit=UNIT):
    return records(machine, LINE, unit)


def messages(machine, count, unit=UNIT):
    """The lines in the journal, once there are so many."""
    found = eventually(lambda: (found := lines(machine, unit))[count - 1:] and found, f"{count} lines")
    return [record["MESSAGE"] for record in found]


def children(machine, pid):
    return [child for child, parent in machine.processes("receiverd").items() if parent == pid]


def worker_of(machine, client):
    """Both it and its Buffer hold the other end of a client's connection; it is the Buffer's parent."""
    def find():
        shown = machine.run("ss", "-Htnp", "state", "established", f"dport = :{client.getsockname()[1]}")
        holders = {int(part.partition(",")[0]) for part in shown.split("pid=")[1:]}
        return {parent for pid, parent in machine.processes("receiverd").items() if pid in holders} & holders
    return eventually(find, "a worker and its Buffer").pop()


def buffer_of(machine, client):
    return children(machine, worker_of(machine, client))[0]


def sink_of(machine):
    """The acceptor's child that has no child: each worker has a Buffer."""
    def find():
        parents = machine.processes("receiverd")
        acceptor = main_pid(machine, UNIT)
        return [pid for pid, parent in parents.items() if parent == acceptor and pid not in parents.values()]
    return eventually(lambda: len(found := find()) == 1 and found, "one sink")[0]


def assert_nothing_runs(machine):
    eventually(lambda: not machine.processes("receiverd"), "no process left")


class Feeder(threading.Thread):
    """A client that says numbered lines, each in two pieces, until the with block ends."""

    def __init__(self, machine):
        super().__init__()
        self.socket = machine.connect(PORT)
        self.name = name(self.socket)
        self.said = 0
        self.enough = threading.Event()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.enough.set()
        self.join()
        self.socket.close()

    def run(self):
        while not self.enough.wait(0.005):
            line = b"line %d of %s\n" % (self.said, self.name.encode())
            self.socket.sendall(line[:7])
            self.socket.sendall(line[7:])
            self.said += 1

    def goes_on(self):
        until = self.said + 20
        eventually(lambda: self.said >= until, "more lines are said")


def said_by(feeder):
    """{where it begins: line}"""
    place, found = 0, {}
    for number in range(feeder.said):
        line = f"line {number} of {feeder.name}"
        found[place] = line
        place += len(line) + 1
    return found


def assert_all_received(feeder, came):
    """Each line, in order; one that comes again does so at the same offset."""
    first_times = {}
    for place, line in came:
        first_times.setdefault(place, line)
    assert list(first_times.items()) == list(said_by(feeder).items())
    assert set(came) == set(first_times.items())


def assert_all_in_journal(machine, feeder):
    record = left(machine, feeder.name, UNIT)
    assert record["LINES"] == str(feeder.said)
    assert record["BYTES_RECEIVED"] == str(sum(len(line) + 1 for line in said_by(feeder).values()))
    came = lines(machine)
    assert {(line["PEER"], line["SESSION"]) for line in came} == {(feeder.name, record["SESSION"])}
    assert_all_received(feeder, [(int(line["OFFSET"]), line["MESSAGE"]) for line in came])


def test_telnet_types_lines_and_the_journal_shows_them(receiver):
    terminal, line = pty.openpty()
    telnet = receiver.start("telnet", "127.0.0.1", str(PORT), stdin=line, stdout=line, stderr=line)
    read_until(terminal, b"Escape character is '^]'.\r\n")
    for number, typed in enumerate((b"52.3676 4.9041", b"51.9244 4.4777")):
        os.write(terminal, typed + b"\n")
        read_until(terminal, typed + b"\r\n")
        messages(receiver, number + 1)  # before that, telnet may throw away what is typed on
    os.write(terminal, b"\x1d")
    read_until(terminal, b"telnet> ")
    os.write(terminal, b"quit\n")
    assert telnet.wait(10) == 0
    os.close(terminal)
    os.close(line)

    assert messages(receiver, 2) == ["52.3676 4.9041", "51.9244 4.4777"]
    first, second = lines(receiver)
    assert (first["OFFSET"], second["OFFSET"]) == ("0", "16")
    end = eventually(lambda: records(receiver, LEFT, UNIT), "a record of the session")[0]
    for record in (first, second):
        assert (record["PEER"], record["SESSION"]) == (end["PEER"], end["SESSION"])
        assert record["SYSLOG_IDENTIFIER"] == "receiverd"
        assert record["PRIORITY"] == "6"
        assert record["_SYSTEMD_UNIT"] == UNIT
    assert (end["REASON"], end["LINES"], end["BYTES_RECEIVED"]) == ("eof", "2", "32")
    shown = receiver.run("journalctl", "--no-pager", "-u", "receiver", "-o", "cat", f"PEER={end['PEER']}")
    assert "\n52.3676 4.9041\n51.9244 4.4777\n" in shown


def test_marks_and_bytes_of_every_kind_reach_the_journal(machine):
    machine.drop_in(UNIT, "[Service]\nEnvironment=RECEIVERD_OPTIONS=--line-max=16\n")
    machine.run("systemctl", "start", "receiver.socket")
    with machine.connect(PORT) as client:
        client.sendall(b"a\0b\xff\n\n" + b"0123456789abcdef+\n" + b"a tail")
    messages(machine, 4)
    odd, empty, cut, tail = lines(machine)
    assert bytes(odd["MESSAGE"]) == b"a\0b\xff"  # journalctl shows as numbers what is no text
    assert empty["MESSAGE"] == ""
    assert (cut["MESSAGE"], cut["LINE_LENGTH"]) == ("0123456789abcdef", "17")
    assert (tail["MESSAGE"], tail["UNTERMINATED"]) == ("a tail", "1")
    assert [record["OFFSET"] for record in (odd, empty, cut, tail)] == ["0", "5", "6", "24"]
    assert not any("LINE_LENGTH" in record for record in (odd, empty, tail))
    assert not any("UNTERMINATED" in record for record in (odd, empty, cut))


def test_sandbox_holds_all_four_kinds_of_processes(receiver):
    with receiver.connect(PORT) as client:
        client.sendall(b"line\n")
        messages(receiver, 1)
        for pid in (main_pid(receiver, UNIT), worker_of(receiver, client), buffer_of(receiver, client),
                    sink_of(receiver)):
            text = receiver.path(f"/proc/{pid}/status").read_text().splitlines()
            fields = dict(line.split(":\t") for line in text if ":\t" in line)
            assert (fields["Seccomp"], fields["NoNewPrivs"]) == ("2", "1")
            assert int(fields["CapBnd"], 16) == int(fields["CapEff"], 16) == 0
            assert "0" not in fields["Uid"].split()


VICTIMS = {"acceptor": lambda machine, client: main_pid(machine, UNIT),
           "Buffer": buffer_of,
           "sink": lambda machine, client: sink_of(machine)}


@pytest.mark.parametrize("victim", VICTIMS)
def test_no_line_is_lost_with_a_killed(receiver, victim):
    with Feeder(receiver) as feeder:
        for _ in range(3):
            feeder.goes_on()
            pid = VICTIMS[victim](receiver, feeder.socket)
            receiver.kill(pid, "KILL")
            eventually(lambda: VICTIMS[victim](receiver, feeder.socket) not in (0, pid), "a successor")
        feeder.goes_on()
    assert_all_in_journal(receiver, feeder)
    assert len(records(receiver, SINK_LOST, UNIT)) == (3 if victim == "sink" else 0)
    assert records(receiver, WORKER_LOST, UNIT) == []


def test_clients_notice_nothing_of_restarts(receiver):
    with Feeder(receiver) as feeder:
        for _ in range(3):
            feeder.goes_on()
            receiver.run("systemctl", "restart", UNIT)
        feeder.goes_on()
        assert records(receiver, ADOPTED, UNIT)[-1]["MESSAGE"].startswith("Adopted 1 workers with ")
        eventually(lambda: status(receiver, UNIT) == "1 clients, 1 served, 0 lost", "it is counted")
    assert_all_in_journal(receiver, feeder)
    eventually(lambda: status(receiver, UNIT) == "0 clients, 1 served, 0 lost", "nobody is there or lost")


@pytest.mark.parametrize("unit", [UNIT, "receiver.socket"])
def test_stop_delivers_what_came_before_and_then_says_fin(receiver, unit):
    with receiver.connect(PORT) as client:
        client.sendall(b"first\n")
        messages(receiver, 1)
        client.sendall(b"".join(b"line %d\n" % i for i in range(1000)) + b"and a tail")
        receiver.run("systemctl", "stop", unit)
        assert client.recv(1) == b""
        client.shutdown(socket.SHUT_RDWR)
        assert messages(receiver, 1002) == ["first", *(f"line {i}" for i in range(1000)), "and a tail"]
        assert left(receiver, name(client), UNIT)["REASON"] == "drain"
    assert_nothing_runs(receiver)


def say_until_nothing_fits(client):
    """Returns what has been sent; it ends in the middle of a line."""
    said = b""
    client.settimeout(1)  # for that long nothing has fitted
    try:
        while True:
            line = b"%d %s\n" % (len(said), b"x" * 20000)
            said += line[:client.send(line)]
    except TimeoutError:
        return said


def test_journal_drops_no_line_for_coming_too_fast(receiver):
    """The limit that it has for others is at most six times the burst, by how much room is left on the disk."""
    conf = receiver.path("/etc/systemd/journald.conf.d")
    conf.mkdir(exist_ok=True)
    (conf / "test.conf").write_text("[Journal]\nRateLimitIntervalSec=10min\nRateLimitBurst=100\n")
    receiver.run("systemctl", "restart", "systemd-journald.service")
    with receiver.connect(PORT) as client:
        client.sendall(b"".join(b"line %d\n" % i for i in range(2000)))
    assert messages(receiver, 2000) == [f"line {i}" for i in range(2000)]


def test_stopped_journal_slows_clients_and_loses_nothing(receiver):
    journald = int(receiver.show("systemd-journald.service", "MainPID"))
    with receiver.connect(PORT) as client:
        client.sendall(b"first\n")
        messages(receiver, 1)
        receiver.kill(journald, "STOP")
        try:
            said = say_until_nothing_fits(client)
        finally:
            receiver.kill(journald, "CONT")
    wanted = ["first", *said.decode().splitlines()]
    assert messages(receiver, len(wanted)) == wanted


def test_restarted_journal_gets_what_comes_after(receiver):
    with Feeder(receiver) as feeder:
        feeder.goes_on()
        receiver.run("systemctl", "restart", "systemd-journald.service")
        feeder.goes_on()
    assert_all_in_journal(receiver, feeder)


def test_lines_go_into_a_file_and_records_to_the_journal(machine):
    machine.drop_in(UNIT, INTO_A_FILE)
    machine.run("systemctl", "start", "receiver.socket")
    with Feeder(machine) as feeder:
        feeder.goes_on()
        machine.kill(sink_of(machine), "KILL")
        machine.run("systemctl", "restart", UNIT)
        machine.kill(buffer_of(machine, feeder.socket), "KILL")
        feeder.goes_on()
    record = left(machine, feeder.name, UNIT)
    assert record["LINES"] == str(feeder.said)

    def came():
        found = [line.split(" ", 3) for line in machine.path(OUTPUT).read_text().splitlines()]
        assert {(session, mark) for session, _, mark, _ in found} == {(record["SESSION"], "-")}
        return [(int(place), line) for _, place, _, line in found]
    eventually(lambda: len(dict(came())) == feeder.said, "every line is in the file")
    assert_all_received(feeder, came())
    assert lines(machine) == []


def test_instance_name_is_the_port(machine):
    machine.run("systemctl", "start", "receiver@4322.socket")
    for host in ("127.0.0.1", "::1"):
        with machine.connect(4322, host) as client:
            client.sendall(host.encode() + b"\n")
            messages(machine, 1 if host == "127.0.0.1" else 2, "receiver@4322.service")
    assert messages(machine, 2, "receiver@4322.service") == ["127.0.0.1", "::1"]
    listening, = records(machine, LISTENING, unit="receiver@4322.service")
    assert listening["MESSAGE"] == "Accepting connections on port 4322"


def test_killed_worker_takes_its_client_along_but_no_delivered_line(receiver):
    with receiver.connect(PORT) as victim, receiver.connect(PORT) as other:
        victim.sendall(b"of the victim\n")
        messages(receiver, 1)
        receiver.kill(worker_of(receiver, victim), "KILL")
        assert victim.recv(1) == b""
        other.sendall(b"of another\n")
        assert messages(receiver, 2) == ["of the victim", "of another"]
        assert left(receiver, name(victim), UNIT)["REASON"] == "lost"


def test_stopped_socket_refuses_the_next_connect(receiver):
    with receiver.connect(PORT) as client:
        client.sendall(b"line\n")
    messages(receiver, 1)
    receiver.run("systemctl", "stop", "receiver.socket")
    with pytest.raises(ConnectionRefusedError):
        receiver.connect(PORT)
    assert_nothing_runs(receiver)
