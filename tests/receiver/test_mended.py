# SPDX-License-Identifier: MIT
"""What once went wrong where a full feed, a reset, a restart or a death met something else."""

import contextlib
import os
import signal
from pathlib import Path

from manager import eventually
from receiver import queued, switches


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
        return queued(self.client) > 0 and is_asleep(self.buffer)

    def lines(self):
        """How many these are, once the last one is whole."""
        self.client.setblocking(True)
        self.client.sendall(self.LINES[self.sent % 1000:1000] if self.sent % 1000 else b"")
        self.client.shutdown(1)
        return -(-self.sent // 1000)


def is_asleep(pid):
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "S"


@contextlib.contextmanager
def sleeps_again(pid):
    """Waits for that at the end: whatever has been done meanwhile has woken it."""
    before = switches(pid)
    yield
    eventually(lambda: switches(pid) > before and is_asleep(pid), "turn of what was woken")


def test_client_that_ends_while_others_wait_for_the_feed_does_not_end_their_wait(receive):
    receiver = receive("--prefix", "--workers=1")
    os.kill(receiver.sink(), signal.SIGSTOP)
    with receiver.connect() as first:
        filler = Filler(receiver)
        with receiver.connect() as last, sleeps_again(filler.buffer):
            last.sendall(b"last\n")
        with sleeps_again(filler.buffer):
            first.shutdown(1)
        os.kill(receiver.sink(), signal.SIGCONT)
        eventually(lambda: any(line.text == b"last" for line in receiver.received()), "line of the last one", 20)
        assert first.recv(1) == b""
    expected = filler.lines() + 1
    assert len(receiver.await_lines(expected)) == expected
    filler.client.close()
