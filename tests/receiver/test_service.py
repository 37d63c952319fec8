# SPDX-License-Identifier: MIT
"""Stop, options, limits and what is told: as for every service on this core, but for what is the receiver's own."""

import os
import signal
import socket
import subprocess
import time

import pytest

from manager import eventually, is_running, state
from receiver import Receiver, await_taken, failing, name, switches


def stop(receiver):
    """As systemctl stop does."""
    pids = receiver.pids()
    receiver.kill(signal.SIGTERM)
    receiver.empty_store()
    return pids


def test_stop_delivers_all_that_was_received_and_marks_tails(receive):
    receiver = receive("--prefix")
    clients = [receiver.connect() for _ in range(5)]
    for number, client in enumerate(clients):
        client.sendall(b"first\n" * 1000 + b"part %d " % number)
        await_taken(client)
    for number, client in enumerate(clients):
        client.sendall(b"and the rest")
    pids = stop(receiver)
    for client in clients:
        assert client.recv(1) == b""
        client.sendall(b"too late\n")
        client.close()
    eventually(lambda: not any(map(is_running, pids)), "end of every process", 10)
    lines = receiver.received()
    tails = sorted(line.text for line in lines if line.mark == b"tail")
    assert tails == [b"part %d and the rest" % number for number in range(5)]
    assert len([line for line in lines if line.mark == b"-"]) == 5000
    assert len(lines) == 5005
    eventually(lambda: receiver.text().count(" left: drain, 1000 lines") == 5, "record of everybody")


def test_stop_while_a_buffer_is_dead_delivers_all_the_same(receive):
    receiver = receive("--prefix")
    with receiver.connect() as client:
        client.sendall(b"line\npart")
        await_taken(client)
        receiver.kill_buffer_of(client)
        client.sendall(b", and more")
        pids = stop(receiver)
        assert client.recv(1) == b""
    eventually(lambda: not any(map(is_running, pids)), "end of every process", 10)
    assert [line[1:] for line in receiver.received()] == [(0, b"-", b"line"), (5, b"tail", b"part, and more")]


def test_without_systemd_sigterm_drains_and_ends(receive):
    receiver = receive("--prefix", keeps=False)
    with receiver.connect() as client:
        client.sendall(b"line\npart")
        receiver.await_line("connected", 5)
        pids = receiver.pids()
        subprocess.run(["kill", "-TERM", str(receiver.pid)], check=True)
        assert client.recv(1) == b""
    assert receiver.end(10) == 0
    eventually(lambda: not any(map(is_running, pids)), "end of every process", 10)
    assert [line[1:] for line in receiver.received()] == [(0, b"-", b"line"), (5, b"tail", b"part")]


def test_status_and_records_tell_of_clients(receive):
    receiver = receive("--prefix")
    with receiver.connect() as client:
        client.sendall(b"one\n\ntwo\ntail")
        assert receiver.await_line(f"Client {name(client)} connected", 5)
        assert receiver.await_status("1 clients, 1 served, 0 lost", 5)
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""
        assert receiver.await_line(f"Client {name(client)} left: eof, 3 lines", 5)
    assert receiver.await_status("0 clients, 1 served, 0 lost", 5)


def test_limit_of_clients_holds(receive):
    receiver = receive("--prefix", "--max-clients=2", "--workers=1")
    with receiver.connect() as first, receiver.connect() as second:
        first.sendall(b"first\n")
        second.sendall(b"second\n")
        receiver.await_lines(2)
        with receiver.connect() as third:
            third.sendall(b"third\n")
            assert receiver.await_line("All 2 places are taken", 5)
            first.close()
            assert [line.text for line in receiver.await_lines(3)][2] == b"third"


def test_urgent_data_is_data(receive):
    receiver = receive("--prefix")
    with receiver.connect() as client:
        client.sendall(b"a")
        client.send(b"!", socket.MSG_OOB)
        client.sendall(b"b\n")
        assert [line[1:] for line in receiver.await_lines(1)] == [(0, b"-", b"a!b")]


def test_idle_receiver_uses_no_processor(receive):
    receiver = receive("--prefix")
    with receiver.connect() as client:
        client.sendall(b"line\nand a part")
        await_taken(client)
        receiver.await_lines(1)
        pids = receiver.pids()

        def turns():  # how often each has given up the processor: an idle one sleeps on
            return {pid: switches(pid) for pid in pids}
        before = turns()
        time.sleep(1.5)
        after = turns()
        assert sum(after[pid] - before[pid] for pid in pids) < 30


def test_unix_socket_is_refused_and_the_remedy_told(tmp_path):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        listener.listen()
        receiver = Receiver(tmp_path / "lines", keeps=False, listener=listener)
        try:
            receiver.start()
            assert receiver.await_line("A UNIX socket cannot be served: write a port in ListenStream=", 5)
            assert receiver.end(5) == 1
        finally:
            receiver.stop()


def test_unix_socket_is_not_tried_again_at_once_where_systemd_starts_it(tmp_path):
    """As any other mistake in the configuration (echod(8)): twelve attempts a minute."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        listener.listen()
        receiver = Receiver(tmp_path / "lines", listener=listener)
        try:
            receiver.start()
            assert receiver.await_line("A UNIX socket cannot be served", 5)
            assert receiver.end(1) is None
        finally:
            receiver.stop()


@pytest.mark.parametrize("option, message", [
    ("--sink=file", "Bad option --sink=file: write journal or stdout"),
    ("--sink=", "Bad option --sink=: write journal or stdout"),
    ("--line-max=0", "Bad option --line-max=0: write a number of bytes from 1 to 131072"),
    ("--line-max=131073", "Bad option --line-max=131073: write a number of bytes from 1 to 131072"),
    ("--line-max=64K", "Bad option --line-max=64K: write a number of bytes from 1 to 131072"),
    ("--prefix=yes", "Bad option --prefix=yes: there is no such option, or it takes no value; see --help"),
    ("--workers=0", "Bad option --workers=0: write a number from 1 to 4096"),
])
def test_bad_option_names_fault_and_remedy(option, message):
    done = subprocess.run([Receiver.program, option], capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"receiverd: {message}\n")


def test_help_names_its_own_options():
    done = subprocess.run([Receiver.program, "--help"], capture_output=True, text=True, timeout=20, check=True)
    assert done.stdout.startswith("Usage: receiverd [OPTION]...\n")
    for option in ("--sink=SINK", "--prefix", "--line-max=BYTES", "--workers=N", "--idle-timeout=TIME"):
        assert f"\n  {option} " in done.stdout
    assert "systemctl start receiver.socket. See receiverd(8)." in done.stdout


def test_stop_while_there_is_no_sink_delivers_all_the_same(receive):
    receiver = receive("--prefix")
    with receiver.connect() as client:
        client.sendall(b"line\n")
        receiver.await_lines(1)
        with failing(receiver.pid, "clone", "EAGAIN"):
            os.kill(receiver.sink(), signal.SIGKILL)
            assert receiver.await_line("Cannot start a worker", 5)
            client.sendall(b"another\n")
            await_taken(client)
            os.kill(receiver.pid, signal.SIGSTOP)  # it has no time to try again
        os.kill(receiver.pid, signal.SIGSTOP)  # strace may have passed the first one on, or kept it
        eventually(lambda: state(receiver.pid) == "T", "stop")
        pids = receiver.pids()
        os.kill(receiver.pid, signal.SIGTERM)
        os.kill(receiver.pid, signal.SIGCONT)
        assert receiver.end(5) == 0
        receiver.empty_store()
        assert client.recv(1) == b""
    eventually(lambda: not any(map(is_running, pids)), "end of every process", 10)
    assert [line[1:] for line in receiver.await_lines(2)] == [(0, b"-", b"line"), (5, b"-", b"another")]
