# SPDX-License-Identifier: MIT
"""What once went wrong where a full feed, a reset, a restart or a death met something else."""

import contextlib
import os
import signal
import socket
import struct
import subprocess
import time
from pathlib import Path

import pytest

from manager import eventually, is_running, state
from receiver import KilledAt, await_taken, failing, leave, name, needs_mounts, queued, reset, switches


class Filler:
    """A client that fills the feed; the sink has been stopped before."""

    LINES = (b"x" * 999 + b"\n") * 100

    def __init__(self, receiver):
        self.client = receiver.connect()
        self.buffer = receiver.buffer_of(self.client)
        self.sent = 0
        self.client.setblocking(False)
        eventually(self._is_held_up, "full feed", 30)

    def _is_held_up(self):
        with contextlib.suppress(BlockingIOError):
            while True:
                self.sent += self.client.send(self.LINES[self.sent % 1000:])
        return queued(self.client) > 0 and state(self.buffer) == "S"

    def lines(self):
        """How many these are, once the last one is whole."""
        self.client.setblocking(True)
        self.client.sendall(self.LINES[self.sent % 1000:1000] if self.sent % 1000 else b"")
        self.client.shutdown(1)
        return -(-self.sent // 1000)


@contextlib.contextmanager
def sleeps_again(pid):
    """Waits for that at the end: whatever has been done meanwhile has woken it."""
    before = switches(pid)
    yield
    eventually(lambda: switches(pid) > before and state(pid) == "S", "turn of what was woken")


def test_client_that_ends_while_others_wait_for_the_feed_does_not_end_their_wait(receive):
    receiver = receive("--prefix", "--workers=1")
    os.kill(receiver.sink(), signal.SIGSTOP)
    with receiver.connect() as first, receiver.connect() as last:
        filler = Filler(receiver)
        with sleeps_again(filler.buffer):
            last.sendall(b"last\n")
        with sleeps_again(filler.buffer):
            first.shutdown(1)
        os.kill(receiver.sink(), signal.SIGCONT)
        eventually(lambda: any(line.text == b"last" for line in receiver.received()), "line of the last one", 20)
        assert first.recv(1) == b""
    expected = filler.lines() + 1
    assert len(receiver.await_lines(expected)) == expected
    filler.client.close()


class Journal:
    """Where records go with their fields; journald itself is out of sight, in a mount namespace."""

    def __init__(self):
        self._holder = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", "mount -t tmpfs none /run/systemd/journal && echo && exec cat"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._holder.stdout.readline() == b"\n"
        self.runner = ("nsenter", f"--mount=/proc/{self._holder.pid}/ns/mnt")
        self._path = Path(f"/proc/{self._holder.pid}/root/run/systemd/journal/socket")
        self.open()

    def open(self):
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self._path))
        self._socket.settimeout(5)

    def await_record(self, text):
        """Its fields, once there is one whose message says so."""
        while text not in (record := self._socket.recv(1 << 16).decode()):
            pass
        return dict(field.split("=", 1) for field in record.splitlines())

    def go_away(self):
        self._path.unlink()
        self._socket.close()

    def close(self):
        self._socket.close()
        self._holder.communicate()


@pytest.fixture
def journal():
    Path("/run/systemd/journal").mkdir(parents=True, exist_ok=True)
    with contextlib.closing(Journal()) as journal:
        yield journal


@needs_mounts
@pytest.mark.parametrize("closed", [False, True], ids=["open", "closed"])
@pytest.mark.parametrize("sent, lines", [
    (b"", []),
    (b"hello\n", [(0, b"-", b"hello")]),
    (b"hello\nabc", [(0, b"-", b"hello"), (6, b"tail", b"abc")]),
], ids=["nothing", "line", "line and part"])
def test_stream_that_broke_before_its_buffer_came_begins_where_it_began(receive, journal, sent, lines, closed):
    receiver = receive("--prefix", "--workers=1", runner=journal.runner, logs_to_journal=True)
    with receiver.connect() as other:
        buffer = receiver.buffer_of(other)
        os.kill(buffer, signal.SIGSTOP)
        client = receiver.connect()
        gone = name(client)
        client.sendall(sent)
        eventually(lambda: queued(client) == len(sent), "arrival")
        if closed:
            client.shutdown(1)
        reset(client)
        os.kill(buffer, signal.SIGCONT)
        record = journal.await_record(f"Client {gone} left")
        assert record["REASON"] == ("eof" if closed else "reset")
        assert (record["LINES"], record["BYTES_RECEIVED"]) == (str(sent.count(10)), str(len(sent)))
        assert [line[1:] for line in receiver.await_lines(len(lines))] == lines


def test_worker_of_before_a_restart_may_have_a_larger_line_max_than_the_sink(receive):
    receiver = receive("--prefix", "--line-max=131072")
    with receiver.connect() as client:
        client.sendall(b"first\n")
        receiver.await_lines(1)
        receiver.options = ["--sink=stdout", "--prefix", "--line-max=10"]
        receiver.kill(signal.SIGTERM)
        receiver.serve()
        client.sendall(b"y" * 200000 + b"\n" + b"z" * 100000 + b"\n" + b"last")
        leave(client)
    assert [line[1:] for line in receiver.await_lines(4)] == [
        (0, b"-", b"first"), (6, b"cut=200000", b"y" * 10), (200007, b"cut=100000", b"z" * 10),
        (300008, b"tail", b"last")]


def test_tail_that_passes_uncut_is_kept_to_its_last_byte(receive):
    """Seen only if the sink has a larger --line-max than the worker."""
    receiver = receive("--prefix", "--line-max=10")
    with receiver.connect() as client:
        client.sendall(b"0123456789+!")
        await_taken(client)
        receiver.options = ["--sink=stdout", "--prefix", "--line-max=20"]
        receiver.kill(signal.SIGTERM)
        receiver.serve()
        leave(client)
    assert [line[1:] for line in receiver.await_lines(1)] == [(0, b"tail", b"0123456789+!")]


def test_sink_that_always_has_more_to_write_hears_that_it_is_to_retire(receive):
    receiver = receive("--prefix", "--workers=1")
    sink = receiver.sink()
    with receiver.connect() as client:
        stopped = KilledAt(sink, "write", 1, signal.SIGSTOP)  # not while it waits, and hears
        client.sendall(b"first\n")
        eventually(lambda: receiver.received() and state(sink) == "t", "stop of the sink")
        os.kill(sink, signal.SIGSTOP)  # the tracer takes its own along
        stopped.close()
        eventually(lambda: state(sink) == "T", "stop of the sink")
        for number in range(60):  # a delivery each
            client.sendall(b"%d\n" % number)
            await_taken(client, acknowledged=False)
        receiver.kill(signal.SIGTERM)
        receiver.serve()  # it has called the roll
        os.kill(receiver.pid, signal.SIGSTOP)  # no successor yet
        os.kill(sink, signal.SIGCONT)
        eventually(lambda: not is_running(sink), "end of the sink")
        assert len(receiver.received()) < 61
        os.kill(receiver.pid, signal.SIGCONT)
        expected = [b"first", *(b"%d" % number for number in range(60))]
        assert [line.text for line in receiver.await_lines(61)] == expected
        leave(client)


def test_stop_while_the_last_sink_still_leaves_delivers_all_the_same(receive):
    receiver = receive("--prefix")
    with receiver.connect() as client:
        client.sendall(b"line\n")
        receiver.await_lines(1)
        sink = receiver.sink()
        os.kill(sink, signal.SIGSTOP)
        client.sendall(b"another\n")
        await_taken(client)
        receiver.kill(signal.SIGTERM)
        receiver.serve()  # and does not wait for long until the sink has heard that it is to leave
        pids = receiver.pids()
        os.kill(receiver.pid, signal.SIGTERM)
        eventually(lambda: receiver.stopping, "STOPPING=1")
        os.kill(sink, signal.SIGCONT)
        assert receiver.end(5) == 0
        receiver.empty_store()
        assert client.recv(1) == b""
    eventually(lambda: not any(map(is_running, pids)), "end of every process", 10)
    assert [line.text for line in receiver.await_lines(2)] == [b"line", b"another"]


def test_client_that_outstays_the_drain_timeout_leaves_with_its_lines_counted(receive):
    receiver = receive("--prefix", "--drain-timeout=200ms")
    with receiver.connect() as client:
        client.sendall(b"line\n")
        receiver.await_lines(1)
        receiver.kill(signal.SIGTERM)
        receiver.empty_store()
        assert receiver.await_line("left: timeout, 1 lines", 5)


def test_client_that_would_time_out_while_the_feed_is_full_loses_nothing_of_what_it_says(receive):
    receiver = receive("--prefix", "--workers=1", "--idle-timeout=1500ms")
    os.kill(receiver.sink(), signal.SIGSTOP)
    with receiver.connect() as client, receiver.connect() as late:
        client.sendall(b"begun")
        filler = Filler(receiver)
        before = switches(filler.buffer)
        eventually(lambda: switches(filler.buffer) >= before + 2, "looks for who is silent")
        late.sendall(b"late\n")
        os.kill(receiver.sink(), signal.SIGCONT)
        expected = filler.lines() + 2
        for each in client, late:
            assert each.recv(1) == b""
        assert receiver.await_line("left: timeout, 0 lines", 5)
        assert receiver.await_line("left: timeout, 1 lines", 5)
    lines = receiver.await_lines(expected)
    assert [line.text for line in lines if line.mark == b"tail"] == [b"begun"]
    assert [line.text for line in lines if line.mark == b"-" and len(line.text) < 100] == [b"late"]
    filler.client.close()


def waits_for(sink):
    """What it polls besides its pair; -1: nothing. None: it does not wait."""
    with contextlib.suppress(OSError, ValueError, struct.error):
        _, array, count, *_ = (int(word, 0) for word in Path(f"/proc/{sink}/syscall").read_text().split())
        with Path(f"/proc/{sink}/mem").open("rb") as memory:
            memory.seek(array)
            return struct.unpack("ihhihh", memory.read(16))[3] if count == 2 else None
    return None


def kill_sink(receiver):
    """Once it has a line and no room for it."""
    sink = receiver.sink()
    eventually(lambda: waits_for(sink) == 1, "wait of the sink")
    os.kill(sink, signal.SIGKILL)
    eventually(lambda: receiver.sink() != sink, "another sink")


def test_sinks_that_are_killed_before_a_pipe_has_taken_anything_leave_nothing(receive, pipe):
    receiver = receive(stdout=pipe.into)
    before = b"x" * (pipe.capacity() - 1) + b"\n"
    os.write(pipe.into, before)
    with receiver.connect() as client:
        client.sendall(b"line\n")
        await_taken(client)
        for _ in range(3):
            kill_sink(receiver)
        eventually(lambda: not pipe.read() and pipe.newlines == 2, "line")
        leave(client)
    assert bytes(pipe.data) == before + b"line\n"


def test_half_a_line_in_a_pipe_is_closed_off_once_whoever_is_killed_before_that(receive, pipe):
    receiver = receive("--line-max=131072", stdout=pipe.into)
    with receiver.connect() as client:
        client.sendall(b"y" * 100000 + b"\n")
        eventually(lambda: pipe.held() == pipe.capacity(), "full pipe")
        for _ in range(3):
            kill_sink(receiver)
        eventually(lambda: not pipe.read() and pipe.newlines == 2, "line")
        leave(client)
    assert bytes(pipe.data) == b"y" * pipe.capacity() + b"\n" + b"y" * 100000 + b"\n"


def test_buffer_that_cannot_be_started_is_told_and_started_as_soon_as_it_can(receive):
    receiver = receive("--prefix")
    with receiver.connect() as client:
        with failing(receiver.worker_of(client), "clone", "EAGAIN"):
            receiver.kill_buffer_of(client)
            client.sendall(b"line\n")
            assert receiver.await_line("Cannot start a Buffer, trying again: Resource temporarily unavailable", 5)
        assert [line[1:] for line in receiver.await_lines(1)] == [(0, b"-", b"line")]
        leave(client)


def test_sink_that_hears_an_acceptor_of_another_version_makes_way(receive):
    receiver = receive("--prefix")
    sink = receiver.sink()
    with socket.socket(fileno=os.dup(receiver.store[f"sink-{sink}"])) as pair:
        pair.send(b"\xff" * 16)
    eventually(lambda: receiver.sink() != sink, "another sink")
    with receiver.connect() as client:
        client.sendall(b"line\n")
        assert [line.text for line in receiver.await_lines(1)] == [b"line"]
        leave(client)


@needs_mounts
def test_trouble_with_the_journal_is_told_there_as_soon_as_it_is_back(receive, journal):
    receiver = receive("--sink=journal", runner=journal.runner, logs_to_journal=True)
    with receiver.connect() as client:
        client.sendall(b"first\n")
        assert journal.await_record("MESSAGE=first")
        journal.go_away()
        client.sendall(b"second\n")
        eventually(lambda: waits_for(receiver.sink()) == -1, "pause of the sink")
        journal.open()
        assert journal.await_record("MESSAGE=second")
        assert journal.await_record("MESSAGE=Cannot write lines, trying again")
        leave(client)


def test_what_comes_just_before_a_timeout_is_delivered(receive):
    receiver = receive("--prefix", "--workers=1", "--idle-timeout=2s")
    clients = [receiver.connect() for _ in range(80)]  # more than a Buffer hears of at once
    for client in clients:
        client.sendall(b"first\n")
    receiver.await_lines(len(clients))
    buffer = receiver.buffer_of(clients[0])
    os.kill(buffer, signal.SIGSTOP)
    for client in clients:
        client.sendall(b"last\n")
    time.sleep(2.1)  # the timeout itself is what is waited for
    os.kill(buffer, signal.SIGCONT)
    assert len(receiver.await_lines(2 * len(clients))) == 2 * len(clients)
    for client in clients:
        client.sendall(b"more\n")  # nobody was silent
    assert len(receiver.await_lines(3 * len(clients))) == 3 * len(clients)
    for client in clients:
        client.close()
