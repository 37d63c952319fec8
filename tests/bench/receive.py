# SPDX-License-Identifier: MIT
"""What bench.py asks of receiverd and its peers, which write to a file.

A figure is how many lines a second arrive in the file, from the first connect to the last line. What is in the
file is then compared: a line that is not there ends the server's part, lines that are torn are counted.
"""

import functools
import os
import re
import socket
import time

import peers

PATIENCE_SECONDS = 60
SIZE = 64
SLOW = {"elixir": 50}  # it is given so many times fewer lines

# question: clients, lines of each, lines in each send()
QUESTIONS = {
    "receive 1": (1, 400_000, 1000),
    "receive 100": (100, 4_000, 1000),
    "receive 100, a line a packet": (100, 2_000, 1),
    "receive idle 10000": (10_000, 1, 1),
}


def line_of(client, number):
    return (b"client %05d line %08d " % (client, number)).ljust(SIZE - 1, b".") + b"\n"


class Receiver(peers.Server):
    """Its stdout is a file, which is empty when a question is asked."""

    def __init__(self, build, command, listens):
        self.path = build / f"lines-{time.monotonic_ns()}"
        with open(self.path, "ab") as out:  # to be appended to, since it is truncated meanwhile
            super().__init__(build, command, listens, out)

    def written(self):
        return self.path.stat().st_size

    def await_size(self, size):
        until = time.monotonic() + PATIENCE_SECONDS
        while self.written() < size and time.monotonic() < until:
            time.sleep(0.001)
        return self.written() == size

    def _answers(self, probe):
        return self.await_size(2)

    def stop(self):
        super().stop()
        self.path.unlink()


def connect(server, clients):
    """From sources that go round, as the load generator's do."""
    made = []
    for i in range(clients):
        client = socket.create_connection(("127.0.0.1", server.port), PATIENCE_SECONDS,
                                          source_address=(f"127.0.{1 + i % 200}.1", 0))
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.append(client)
    return made


def send(sockets, parts):
    """Each part to every client in turn."""
    for some in parts:
        for client, data in zip(sockets, some):
            client.sendall(data)


@functools.cache
def compose(clients, lines, together):
    """[[what each client sends at once] of each turn]"""
    return [[b"".join(line_of(client, n) for n in range(first, min(first + together, lines)))
             for client in range(clients)] for first in range(0, lines, together)]


def torn(server, clients, lines):
    """How many lines are not as they were sent; None if one is missing or not in its order."""
    seen, wrong, expected = [0] * clients, 0, re.compile(rb"client (\d{5}) line (\d{8}) \.+")
    for line in server.path.read_bytes().split(b"\n")[:-1]:
        match = expected.fullmatch(line) if len(line) == SIZE - 1 else None
        if not match:
            wrong += 1
            continue
        client, number = map(int, match.groups())
        if not wrong and seen[client] != number:
            return None
        seen[client] += 1
    return wrong if wrong or seen == [lines] * clients else None


def receive(server, clients, lines, parts):
    """[lines a second, CPU us a line, lines torn], or None."""
    os.truncate(server.path, 0)
    used, began = server.processor(), time.monotonic()
    sockets = connect(server, clients)
    send(sockets, parts)
    arrived = server.await_size(clients * lines * SIZE)
    took = time.monotonic() - began
    used = None if used is None else server.processor() - used
    for client in sockets:
        client.close()
    wrong = torn(server, clients, lines) if arrived else None
    if wrong is None:
        return None
    return [clients * lines / took, 0 if used is None else 1e6 * used / clients / lines, wrong]


def idle(server, clients, parts):
    """[KiB a client], by which the memory grows."""
    before = server.memory()
    if before is None:
        return None
    os.truncate(server.path, 0)
    sockets = connect(server, clients)
    send(sockets, parts)
    arrived = server.await_size(clients * SIZE)
    grown = server.memory() - before
    for client in sockets:
        client.close()
    return [grown / clients / 1024] if arrived else None


def measure(build, servers, question, rounds):
    clients, lines, together = QUESTIONS[question]
    if "idle" in question:
        rounds = 1
        servers = {name: how for name, how in servers.items() if name != "socket-activate"}

    def ask(name, server):
        fewer = max(1, lines // SLOW.get(name, 1))
        parts = compose(clients, fewer, together)
        return idle(server, clients, parts) if "idle" in question else receive(server, clients, fewer, parts)
    return peers.ask_in_turn(question, functools.partial(Receiver, build), servers, rounds, ask)
