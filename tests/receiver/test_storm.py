# SPDX-License-Identifier: MIT
"""A hundred clients talk while everything that can die does so, all the time: every line of everybody arrives."""

import contextlib
import os
import random
import signal
import threading
import time
from collections import Counter

from manager import eventually
from receiver import LONG, leave

CLIENTS = 100
LINES = 1_000_000 if LONG else 100_000  # or more, until enough has been killed
SEED = 20261128
KILL_SECONDS = 0.005
SINK_KILLS, ACCEPTOR_KILLS = 0.02, 0.01  # of the rounds
ENOUGH = {"buffer": 100, "sink": 1, "acceptor": 1}
SECONDS = 1200 if LONG else 120


class Talker(threading.Thread):
    """Says lines of random sizes, in packets of random sizes, and on until it is enough."""

    def __init__(self, receiver, number, enough):
        super().__init__(daemon=True)
        self.random = random.Random(SEED + number)
        self.number, self.enough = number, enough
        self.data, self.lines = b"", 0
        self.think(LINES // CLIENTS)
        self.client = receiver.connect()
        self.client.settimeout(120)
        self.trouble = None
        self.start()

    def think(self, count):
        self.data += b"".join(self.line(i) for i in range(self.lines, self.lines + count))
        self.lines += count

    def line(self, i):
        kind = self.random.random()
        most = 100 if kind < 0.95 else 3000 if kind < 0.999 else 60000
        return b"client %d line %d %s\n" % (self.number, i, b"0123456789" * (self.random.randrange(most) // 10))

    def run(self):
        place = 0
        try:
            while place < len(self.data):
                packet = self.data[place:place + self.random.choice((1, 7, 100, 1500, 4000))]
                self.client.sendall(packet)
                place += len(packet)
                if place == len(self.data) and not self.enough.is_set():
                    self.think(LINES // CLIENTS // 10)
                time.sleep(0.01)  # so that packets are not joined
            leave(self.client)
        except (OSError, AssertionError) as error:
            self.trouble = f"{error!r} at {place} of {len(self.data)}"


def rage(receiver, talkers, enough):
    """Kills until all have left. Returns how many of each kind."""
    kills, chance, deadline = Counter(), random.Random(SEED), time.monotonic() + SECONDS
    while any(talker.is_alive() for talker in talkers):
        assert time.monotonic() < deadline, kills
        if all(kills[kind] >= count for kind, count in ENOUGH.items()):
            enough.set()
        time.sleep(KILL_SECONDS)
        buffers, sinks = receiver.buffers(), receiver.store_pids("sink-")
        victims = {"buffer": chance.choice(buffers) if buffers else None,
                   "sink": sinks[0] if sinks and chance.random() < SINK_KILLS else None}
        for kind, pid in victims.items():
            if pid:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    kills[kind] += 1
        if chance.random() < ACCEPTOR_KILLS:
            number = chance.choice((signal.SIGKILL, signal.SIGTERM))
            receiver.kill(number)
            kills["acceptor"] += 1
            receiver.serve()
    return kills


def assert_complete(lines, talkers):
    """Every line of every client in order; one that comes again has the offset that it had."""
    streams = {}
    for line in lines:
        stream = streams.setdefault(line.session, {})
        assert stream.setdefault(line.offset, line.text) == line.text
        assert line.mark == b"-"
    assert len(streams) == len(talkers)
    for stream in streams.values():
        number = int(stream[0].split()[1])
        assert list(stream) == sorted(stream)  # in the order in which they came first
        assert b"".join(text + b"\n" for text in stream.values()) == talkers[number].data
    return sum(map(len, streams.values()))


def test_every_line_of_a_hundred_clients_arrives_though_everything_dies(receive):
    receiver = receive("--prefix", "--workers=16")
    enough = threading.Event()
    talkers = [Talker(receiver, number, enough) for number in range(CLIENTS)]
    eventually(lambda: receiver.text().count(" connected") == CLIENTS, "hand-over of all", 10)  # or it is lost
    kills = rage(receiver, talkers, enough)
    assert [talker.trouble for talker in talkers if talker.trouble] == []
    assert receiver.await_status(f"0 clients, {CLIENTS} served, 0 lost", 10)
    total = sum(talker.lines for talker in talkers)
    lines = receiver.await_lines(total)
    assert assert_complete(lines, talkers) == total
    print(kills, f"{len(lines) - total} repeats")
    # A delivery holds at most what a Buffer reads at once, and only with a death it comes again.
    assert len(lines) - total < sum(kills.values()) * 400
