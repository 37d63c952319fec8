# SPDX-License-Identifier: MIT
"""Clients that check every byte they get back."""

import os
import random
import select
import socket
import threading
import time
from pathlib import Path

PATIENCE = 20.0
PAUSE = 0.01  # between two rounds: the clients are to talk, not to keep both cores busy


class Wrong(Exception):
    """What came back is not what was sent."""


class Talker(threading.Thread):
    """Talks all the time. Each round: some lines of any bytes go, and come back as they were."""

    def __init__(self, address):
        super().__init__(daemon=True)
        self.socket = socket.create_connection(address, timeout=PATIENCE)
        self.lost = self.wrong = None  # what ended it, if it was not leave()
        self.rounds = 0
        self._leaving = threading.Event()
        self._changed = threading.Condition()
        self._random = random.Random(self.socket.getsockname()[1])
        self._round()
        self.start()

    def _round(self):
        sizes = [self._random.choice((0, 1, 30, 400, 6000)) for _ in range(self._random.randint(1, 4))]
        sent = b"".join(self._random.randbytes(size) + b"\n" for size in sizes)
        self.socket.sendall(sent)
        came = b""
        while len(came) < len(sent):
            more = self.socket.recv(len(sent) - len(came))
            if not sent.startswith(came + more):
                raise Wrong(f"{came + more!r} instead of {sent!r}")
            if not more:
                raise ConnectionError("closed")
            came += more

    def run(self):
        try:
            while not self._leaving.wait(PAUSE):
                self._round()
                with self._changed:
                    self.rounds += 1
                    self._changed.notify_all()
        except OSError as error:
            self.lost = repr(error)
        except Wrong as error:
            self.wrong = str(error)
        self.socket.close()
        with self._changed:
            self._changed.notify_all()

    def goes_on(self, seconds):
        """Waits for a round that begins after this call. Returns what is wrong with it, if anything."""
        with self._changed:
            until = self.rounds + 2
            done = self._changed.wait_for(
                lambda: self.rounds >= until or self.lost or self.wrong, seconds)
        return self.wrong or self.lost or (None if done else f"no answer within {seconds:.2f} s")

    def leave(self):
        self._leaving.set()
        self.join()


class Visit:
    """A client that comes, says something, hears it and goes; advanced by wait(), so that it may be late.

    kind: "line"; "tail": no newline, but FIN, and FIN comes back; "bulk": reads when it has sent what fits.
    """
    LINE = b"Is anybody there?\n"

    def __init__(self, address, kind="line"):
        self.lost, self.wrong, self.done = None, None, False
        self._tail = kind == "tail"
        self._unsent = {"line": self.LINE, "tail": b"a tail", "bulk": self.LINE * 60000}[kind]
        self._expected = memoryview(self._unsent)
        self._reading = kind != "bulk"
        self._socket = socket.socket()
        if kind == "bulk":
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        self._socket.setblocking(False)
        self._socket.connect_ex(address)
        self.name = self._socket.getsockname()

    def wait(self, seconds):
        """Returns whether it is over, well or not."""
        deadline = time.monotonic() + seconds
        while not self.is_over():
            left = deadline - time.monotonic()
            poll = select.poll()
            poll.register(self._socket, (select.POLLIN if self._reading else 0)
                          | (select.POLLOUT if self._unsent else 0))
            ready = poll.poll(max(0, min(left, 1.0 if self._reading else 0.05)) * 1000)
            if not ready and self._reading and left <= 0:
                return False
            self._reading = self._reading or not ready  # it has sent all that fits
            try:
                self._advance()
            except BlockingIOError:
                pass
            except OSError as error:
                self._end(lost=repr(error))
        return True

    def _advance(self):
        if self._unsent:
            try:
                self._unsent = self._unsent[self._socket.send(self._unsent):]
            except BlockingIOError:
                pass
            if not self._unsent and self._tail:
                self._socket.shutdown(socket.SHUT_WR)
        if not self._reading and self._unsent:
            return
        came = self._socket.recv(1 << 16)
        if not came and not self._expected:
            self._end()
        elif not came:
            self._end(lost=f"closed, {len(self._expected)} bytes short")
        elif self._expected[:len(came)] != came:
            self._end(wrong=f"{came[:80]!r} instead of {bytes(self._expected[:80])!r}")
        else:
            self._expected = self._expected[len(came):]
            if not self._expected and not self._tail:
                self._end()

    def _end(self, lost=None, wrong=None):
        self.lost, self.wrong, self.done = lost, wrong, not lost and not wrong
        self._socket.close()

    def is_over(self):
        return bool(self.done or self.lost or self.wrong)

    def close(self):
        self._socket.close()


def holder(pids, client):
    """Which of the processes has the other end of a client's socket, or None."""
    ours, theirs = ("%08X:%04X" % (int.from_bytes(socket.inet_aton(host), "little"), port)
                    for host, port in (client.getsockname(), client.getpeername()))
    inodes = {fields[9] for fields in map(str.split, Path("/proc/net/tcp").read_text().splitlines())
              if fields[1:3] == [theirs, ours]}
    for pid in pids:
        if any(link.removeprefix("socket:[").rstrip("]") in inodes for link in _links(pid)):
            return pid
    return None


def idle(pids):
    """Those of the processes that hold no TCP connection."""
    inodes = {line.split()[9] for line in Path("/proc/net/tcp").read_text().splitlines()[1:]}
    return [pid for pid in pids
            if not any(link.removeprefix("socket:[").rstrip("]") in inodes for link in _links(pid))]


def _links(pid):
    links = []
    try:
        for name in os.listdir(f"/proc/{pid}/fd"):
            try:
                links.append(os.readlink(f"/proc/{pid}/fd/{name}"))
            except OSError:
                continue
    except OSError:
        pass
    return links
