# SPDX-License-Identifier: MIT
"""A receiver whose stdout is a file or a pipe, its processes, its clients, and what came out."""

import contextlib
import fcntl
import os
import select
import signal
import socket
import struct
import subprocess
import termios
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from cases import Fault
from injection import Injection, require_tracing, tracer_of
from manager import TREE, Manager, eventually, is_running

LONG = os.environ.get("ECHOD_TEST_LONG") == "1"
PATIENCE = 20.0

# Not even root may where it runs in a container like docker's.
needs_mounts = pytest.mark.skipif(
    subprocess.run(["unshare", "--mount", "true"], stderr=subprocess.DEVNULL, check=False).returncode != 0,
    reason="no right to mount")


class Line(NamedTuple):
    session: bytes
    offset: int
    mark: bytes
    text: bytes

    @classmethod
    def parse(cls, line):
        session, offset, mark, text = line.split(b" ", 3)
        return cls(session, int(offset), mark, text)


def parse(data):
    """With --prefix; every line is whole."""
    assert data.endswith(b"\n") or not data
    return [Line.parse(line) for line in data.split(b"\n")[:-1]]


def count_distinct(lines):
    """Those that come again, at the same place, are no more."""
    return len({line[:2] for line in lines})


def children(pid):
    with contextlib.suppress(OSError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def memory(pid, key="VmHWM"):
    """Bytes; by default the most that it has ever had."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1]) * 1024
    return 0


class Receiver(Manager):
    program = os.environ.get("RECEIVERD", str(TREE / "build/gcc/src/receiverd"))

    def __init__(self, path, *options, stdout=None, **more):
        self.path = path
        own = None if stdout is not None else os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC)
        super().__init__("--sink=stdout", *options, stdout=own if own is not None else stdout, **more)
        if own is not None:
            os.close(own)

    # Processes

    def keepers(self):
        """All workers, but not the sink."""
        sink = self.store_pids("sink-")
        return [pid for pid in {*self.workers(), *self.store_pids("worker-")} if pid not in sink]

    def store_pids(self, prefix):
        return [int(name.removeprefix(prefix)) for name in list(self.store) if name.startswith(prefix)]

    def sink(self):
        return eventually(lambda: len(found := self.store_pids("sink-")) == 1 and found, "sink", PATIENCE)[0]

    def worker_of(self, client):
        """Both a worker and its Buffer hold the other end."""
        return eventually(lambda: holders(self.keepers(), client), "worker", PATIENCE)[0]

    def buffer_of(self, client):
        worker = self.worker_of(client)
        return eventually(lambda: holders(children(worker), client), "Buffer", PATIENCE)[0]

    def buffers(self):
        return [pid for keeper in self.keepers() for pid in children(keeper)]

    def pids(self):
        return [pid for pid in (self.pid, *self.store_pids("sink-"), *self.keepers(), *self.buffers())
                if is_running(pid)]

    def stop(self):
        self._note(*self.buffers())  # they end after their workers, and what they say then is to be heard
        super().stop()

    def kill_buffer_of(self, client, number=signal.SIGKILL):
        pid = self.buffer_of(client)
        os.kill(pid, number)
        eventually(lambda: not is_running(pid), "end of the Buffer")

    # What came out

    def data(self):
        return self.path.read_bytes()

    def received(self):
        """Those that are written by now, with --prefix; what is being written is left out."""
        data = self.data()
        return parse(data[:data.rfind(b"\n") + 1])

    def await_lines(self, count, seconds=PATIENCE):
        """All lines, once there are as many different ones."""
        eventually(lambda: count_distinct(self.received()) >= count, f"{count} lines", seconds)
        return self.received()

    def await_text(self, text):
        eventually(lambda: len(self.data()) >= len(text), "all lines", PATIENCE)
        assert self.data() == text

    # Clients

    def connect(self):
        client = socket.create_connection(self.address, timeout=PATIENCE)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return client

    def say(self, *packets):
        """A client says these, one after the other is taken, and leaves when it is let go. Returns its name."""
        with self.connect() as client:
            for packet in packets:
                client.sendall(packet)
                await_taken(client, acknowledged=False)
            leave(client)
            return name(client)


def name(client):
    return "%s:%d" % client.getsockname()


def leave(client):
    """Closes its side, and waits until the other one does."""
    client.shutdown(socket.SHUT_WR)
    assert client.recv(1) == b""


def reset(client):
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def _other_end(client):
    """Its row in /proc/net/tcp."""
    ours, theirs = ("%08X:%04X" % (int.from_bytes(socket.inet_aton(host), "little"), port)
                    for host, port in (client.getsockname(), client.getpeername()))
    for row in map(str.split, Path("/proc/net/tcp").read_text().splitlines()):
        if row[1:3] == [theirs, ours]:
            return row
    return None


def holders(pids, client):
    """Those processes that have the other end of the client's socket."""
    row = _other_end(client)
    return [pid for pid in pids if row and f"socket:[{row[9]}]" in links(pid)]


def links(pid):
    """What its open files are called."""
    found = set()
    with contextlib.suppress(OSError):
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                found.add(os.readlink(link))
    return found


def queued(client):
    """Bytes in the receive queue of the other end."""
    row = _other_end(client)
    return int(row[4].partition(":")[2], 16) if row else 0


def switches(pid):
    """How often it has given up the processor."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("voluntary"))


def await_taken(client, acknowledged=True):
    """Until nothing is on its way any more, nor in the receive queue of the other end. What has been sent may still be
    on its way if the acknowledgement, which can take 40 ms, is not waited for."""
    def is_taken():
        unsent, = struct.unpack("i", fcntl.ioctl(client, termios.TIOCOUTQ, b"\0" * 4))
        row = _other_end(client)
        return (unsent == 0 or not acknowledged) and (row is None or row[4].endswith(":00000000"))
    eventually(is_taken, "taking of what was sent", PATIENCE)


def failing(pid, call, errno):
    """While the with block lasts, a call of the process fails."""
    return Injection(pid, Fault(None, "steady", call, errno, "1+", frozenset()))


class KilledAt:
    """Kills a process as it enters a call for the nth time: what the call would do is not done. Another signal comes
    when it has been done."""

    def __init__(self, pid, call, nth, number=signal.SIGKILL):
        require_tracing()
        self.pid = pid
        self._tracer = subprocess.Popen(
            ["strace", "-qq", "-e", f"trace={call}", "-e", f"inject={call}:signal={number.name}:when={nth}",
             "-p", str(pid), "-o", "/dev/null"], stderr=subprocess.DEVNULL)
        eventually(lambda: self.is_over() or tracer_of(pid), "tracer")

    def is_over(self):
        return not is_running(self.pid)

    def close(self):
        self._tracer.kill()
        self._tracer.wait()


class Pipe:
    """What a sink writes into, and nobody reads before read() is called."""

    def __init__(self):
        self.out, self.into = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self.out, False)
        self.data, self.newlines = bytearray(), 0

    def held(self):
        return struct.unpack("i", fcntl.ioctl(self.out, termios.FIONREAD, b"\0" * 4))[0]

    def capacity(self):
        return fcntl.fcntl(self.out, fcntl.F_GETPIPE_SZ)

    def read(self, most=1 << 20):
        with contextlib.suppress(BlockingIOError):
            more = os.read(self.out, most)
            self.data += more
            self.newlines += more.count(b"\n")
            return len(more)
        return 0

    def read_lines(self, count, seconds=PATIENCE):
        """Reads until so many different lines have come in all."""
        self.read_until(lambda: self.newlines >= count and count_distinct(self.lines()) >= count,
                        f"{count} lines", seconds)
        return self.lines()

    def read_until(self, probe, what, seconds=PATIENCE, most=1 << 20):
        """Reads until it is true, at once whenever there is something to read."""
        deadline = time.monotonic() + seconds
        while not probe():
            assert time.monotonic() < deadline, f"no {what} within {seconds:.1f} s"
            select.select([self.out], [], [], 0.005)
            self.read(most)

    def lines(self):
        return parse(bytes(self.data[:self.data.rfind(b"\n") + 1]))

    def close(self):
        os.close(self.out)
        os.close(self.into)
