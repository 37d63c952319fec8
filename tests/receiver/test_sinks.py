# SPDX-License-Identifier: MIT
"""A sink that stalls, vanishes or is full: clients wait, nothing is lost, nothing grows, nothing spins."""

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from manager import cpu_seconds, eventually, is_running, state
from receiver import LONG, PATIENCE, await_taken, leave, links, memory, name, needs_mounts, parse, reset

STALL_SECONDS = 60 if LONG else 2
TROUBLE = "Cannot write lines, trying again"


class Flood(threading.Thread):
    """Sends numbered lines until it is told to stop; while nothing fits it waits, but not for ever."""

    def __init__(self, receiver, size=200):
        super().__init__(daemon=True)
        self.client = receiver.connect()
        self.client.settimeout(STALL_SECONDS + 60)
        self.said = 0
        self.enough = threading.Event()
        self._line = b"x" * size
        self.start()

    def run(self):
        with contextlib.suppress(OSError):  # reset by the test
            while not self.enough.is_set():
                self.client.sendall(b"%d %s\n" % (self.said, self._line))
                self.said += 1

    def is_blocked(self, seconds=0.3):
        """Nothing has fitted for so long."""
        before = self.said
        return not self.enough.wait(seconds) and self.said == before

    def end(self):
        self.enough.set()
        self.join(PATIENCE)
        assert not self.is_alive()

    def leave(self):
        self.end()
        leave(self.client)
        self.client.close()


def numbers_by_session(lines):
    numbers = {}
    for line in lines:
        numbers.setdefault(line.session, []).append(int(line.text.split()[0]))
    return numbers


def assert_each_in_order(lines, floods):
    firsts = [list(dict.fromkeys(numbers)) for numbers in numbers_by_session(lines).values()]
    assert sorted(map(len, firsts)) == sorted(flood.said for flood in floods)
    assert all(numbers == list(range(len(numbers))) for numbers in firsts)


def test_stalled_sink_slows_clients_and_loses_nothing_though_buffers_are_killed(receive, pipe):
    receiver = receive("--prefix", "--workers=3", "--idle-timeout=1s", stdout=pipe.into)
    floods = [Flood(receiver) for _ in range(6)]
    eventually(lambda: all(flood.is_blocked() for flood in floods), "standstill", 30)

    def used():
        return sum(map(cpu_seconds, receiver.pids()))
    grown = {pid: memory(pid, "VmRSS") for pid in receiver.pids()}
    before, began = used(), time.monotonic()
    while time.monotonic() - began < STALL_SECONDS:
        time.sleep(STALL_SECONDS / 10)  # the stall itself is what is waited for
    assert used() - before < 0.1 * STALL_SECONDS
    for pid in receiver.pids():
        assert memory(pid, "VmRSS") <= grown[pid] + (1 << 20)
        assert memory(pid) < 32 << 20

    for flood in floods:
        receiver.kill_buffer_of(flood.client)
    eventually(lambda: all(flood.is_blocked() for flood in floods), "another standstill", 30)
    assert " left: " not in receiver.text()  # they wait for longer than they may be silent
    for flood in floods:
        flood.enough.set()
    pipe.read_until(lambda: not any(flood.is_alive() for flood in floods), "end of the floods")
    lines = pipe.read_lines(sum(flood.said for flood in floods))
    for flood in floods:
        flood.leave()
    assert_each_in_order(lines, floods)
    assert len(lines) - sum(flood.said for flood in floods) < 6 * 400  # repeats: what a delivery holds, at most


def test_idle_timeout_hits_a_client_that_says_nothing(receive, pipe):
    receiver = receive("--prefix", "--idle-timeout=2s", stdout=pipe.into)
    with receiver.connect() as client:
        client.sendall(b"line\nand a part")
        assert client.recv(1) == b""
    assert receiver.await_line("left: timeout, 1 lines", 5)
    assert [line[1:] for line in pipe.read_lines(2)] == [(0, b"-", b"line"), (5, b"tail", b"and a part")]


def test_slow_sink_serves_all_clients_of_a_buffer_alike(receive, pipe):
    receiver = receive("--prefix", "--workers=1", "--drain-timeout=1s", stdout=pipe.into)
    floods = [Flood(receiver) for _ in range(12)]
    eventually(lambda: all(flood.is_blocked() for flood in floods), "standstill", 30)
    pipe.read_until(lambda: pipe.newlines >= 60000, "60000 lines", most=4096)
    counts = Counter(line.session for line in pipe.lines())
    assert len(counts) == len(floods)
    assert min(counts.values()) > max(counts.values()) / 4, counts
    for flood in floods:
        flood.enough.set()
        reset(flood.client)


def test_file_is_open_in_no_process_that_reads_clients(receive):
    receiver = receive()
    with receiver.connect() as client:
        client.sendall(b"line\n")
        receiver.await_text(b"line\n")
        receiver.buffer_of(client)
        eventually(lambda: {pid for pid in receiver.pids() if str(receiver.path) in links(pid)} ==
                   {receiver.pid, receiver.sink()}, "closing of the file elsewhere")


def test_reader_that_goes_and_comes_back_gets_all_lines(receive, tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(fifo, os.O_WRONLY)
    receiver = receive("--prefix", stdout=writer)
    os.close(writer)
    with receiver.connect() as client:
        client.sendall(b"first\n")
        came = eventually(lambda: read(reader), "first line")
        os.close(reader)
        client.sendall(b"second\n")
        assert receiver.await_line(f"{TROUBLE}: Broken pipe", 5)
        before = sum(map(cpu_seconds, receiver.pids()))
        for number in range(1000):
            client.sendall(b"%d\n" % number)
        time.sleep(2.0)  # attempts; of those a second apart each could be told
        assert sum(map(cpu_seconds, receiver.pids())) - before < 0.3
        receiver.kill_buffer_of(client)
        reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)

        def all_came():
            nonlocal came
            came += read(reader)
            return came.count(b"\n") >= 1002
        eventually(all_came, "all lines", 20)
        leave(client)
    texts = [line.text for line in dict.fromkeys(parse(came))]
    assert texts == [b"first", b"second", *(b"%d" % number for number in range(1000))]
    assert receiver.text().count(TROUBLE) == 1
    os.close(reader)


def read(fd):
    try:
        return os.read(fd, 1 << 20)
    except BlockingIOError:
        return b""


@pytest.fixture
def small_disk():
    """A file system of 256 KiB, in a mount namespace that nobody else sees."""
    holder = subprocess.Popen(
        ["unshare", "--mount", "sh", "-c",
         "mount -t tmpfs -o size=256k none /mnt && echo && exec cat"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout.readline() == b"\n"
    yield Path(f"/proc/{holder.pid}/root/mnt")
    holder.communicate()


def receive_onto(small_disk, filled, receive):
    """A receiver that writes to this disk, of which so many KiB are taken."""
    (small_disk / "filler").write_bytes(bytes(filled << 10))
    file = os.open(small_disk / "lines", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    receiver = receive("--prefix", stdout=file)
    os.close(file)
    receiver.path = small_disk / "lines"
    return receiver


@needs_mounts
def test_full_disk_is_told_once_and_loses_nothing_when_there_is_room_again(receive, small_disk):
    receiver = receive_onto(small_disk, 200, receive)
    sent = [b"line %d " % i + b"x" * 150 for i in range(600)]
    with receiver.connect() as client:
        client.sendall(b"".join(line + b"\n" for line in sent))
        assert receiver.await_line(f"{TROUBLE}: No space left on device", 5)
        time.sleep(1.0)  # some attempts
        parse(receiver.data())  # no torn line meanwhile
        receiver.kill_buffer_of(client)
        os.kill(receiver.sink(), 9)
        eventually(lambda: receiver.text().count(TROUBLE) == 2, "the next sink has met it, too")
        (small_disk / "filler").unlink()
        lines = receiver.await_lines(len(sent))
        leave(client)
    assert [line.text for line in dict.fromkeys(lines)] == sent
    assert receiver.text().count(TROUBLE) == 2  # once by each sink


def test_client_that_breaks_in_mid_line_leaves_its_part_marked(receive):
    receiver = receive("--prefix")
    client = receiver.connect()
    client.sendall(b"line\npart")
    await_taken(client)
    gone = name(client)
    reset(client)
    assert receiver.await_line(f"Client {gone} left: reset, 1 lines", 5)
    assert [line[1:] for line in receiver.await_lines(2)] == [(0, b"-", b"line"), (5, b"tail", b"part")]


def test_stop_gives_up_a_stalled_sink_after_the_drain_timeout(receive, pipe):
    receiver = receive("--prefix", "--drain-timeout=1s", stdout=pipe.into)
    flood = Flood(receiver)
    eventually(flood.is_blocked, "standstill", 30)
    pids = receiver.pids()
    began = time.monotonic()
    receiver.kill(15)
    receiver.empty_store()
    eventually(lambda: not any(map(is_running, pids)), "end of all processes", 10)
    assert time.monotonic() - began >= 1
    reset(flood.client)
    flood.end()


@needs_mounts
def test_what_others_write_after_a_sink_has_met_a_full_disk_is_not_taken_back(receive, small_disk):
    receiver = receive_onto(small_disk, 240, receive)
    with receiver.connect() as client:
        client.sendall(b"x" * 50000 + b"\n")
        assert receiver.await_line(f"{TROUBLE}: No space left on device", 5)
        os.kill(receiver.pid, signal.SIGSTOP)  # no successor yet
        sink = receiver.sink()
        eventually(lambda: state(sink) == "S", "pause of the sink")
        os.kill(sink, signal.SIGKILL)
        (small_disk / "filler").unlink()
        with receiver.path.open("ab") as other:
            other.write(b"from somebody else\n")
        os.kill(receiver.pid, signal.SIGCONT)
        eventually(lambda: receiver.data().endswith(b"xx\n"), "line")
        leave(client)
    assert receiver.data().startswith(b"from somebody else\n")
