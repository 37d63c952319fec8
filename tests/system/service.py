# SPDX-License-Identifier: MIT
"""The services as their clients and their administrator meet them: what several tests ask and do."""

import threading
import time

from machine import eventually

# The kinds of records (src/core/record.h): MESSAGE_IDs are part of the interface and never change.
LISTENING = "0ea11234fcd447418f275cc567604684"
CONNECTED = "db5ecb4a3dc444069d1dc7f197a9c9f9"
LEFT = "8445c97c11644d289510d8512981846a"
WORKER_LOST = "452f6f97c05c42fc9a3ff4cb3cf4a146"
SINK_LOST = "aaa0024d18714abeb46170c6504199b9"
ADOPTED = "6ec90e482cb24e9c97d9fccd9687aba0"
LIMIT = "48d83eba7e3f4914a60874ac9aa4796b"
RECORDS_LOST = "a82e113d30cf4301a8b2276a01fdc4bc"
LINE = "0affc532e08e4c8faa76e59516e65b85"
REFUSED = "a811e0fd13674813aac67e08b0cbc7e5"


def records(machine, kind, unit="echo.service"):
    return [record for record in machine.journal(unit) if record.get("MESSAGE_ID") == kind]


def left(machine, peer, unit="echo.service"):
    """The record that the client has left, once there is one."""
    def find():
        found = [record for record in records(machine, LEFT, unit) if record["PEER"] == peer]
        assert len(found) <= 1, found
        return found
    return eventually(find, f"a record that {peer} has left")[0]


def main_pid(machine, unit="echo.service"):
    return int(machine.show(unit, "MainPID"))


def worker_of(machine, client):
    """The pid of the process that holds the other end of a client's connection."""
    port = client.getsockname()[1]
    for line in machine.run("ss", "-Htnp", "state", "established", f"dport = :{port}").splitlines():
        if '"echod"' in line:
            return int(line.partition("pid=")[2].partition(",")[0])
    raise AssertionError("nobody serves this client")


def name(client):
    """A client's address as records spell it."""
    address, port = client.getsockname()[:2]
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def receive(client, length):
    """Exactly so many bytes, or what came before the connection ended."""
    data = b""
    while len(data) < length and (more := client.recv(length - len(data))):
        data += more
    return data


def receive_all(client):
    """Everything until FIN."""
    return b"".join(iter(lambda: client.recv(1 << 16), b""))


def talk(client, line=b"Is anybody there?\n"):
    client.sendall(line)
    assert receive(client, len(line)) == line


def call(machine, **where):
    """Connects, gets one line back, leaves. Returns the seconds it took."""
    began = time.monotonic()
    with machine.connect(**where) as client:
        talk(client)
    return time.monotonic() - began


def status(machine, unit="echo.service"):
    """What systemctl status shows of the service's own account."""
    for line in machine.run("systemctl", "status", unit, status=None).splitlines():
        if line.strip().startswith("Status: "):
            return line.strip().removeprefix("Status: ").strip('"')
    return None


class Knocker(threading.Thread):
    """Connects, says one line and leaves, again and again, until the with block ends.

    A knock is answered in full, or, when it meets a stop, not at all: FIN without an answer. It is never
    refused.
    """

    def __init__(self, machine):
        super().__init__()
        self.machine = machine
        self.enough = threading.Event()
        self.answered = 0
        self.failures = []

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.enough.set()
        self.join()

    def run(self):
        while not self.enough.is_set():
            try:
                with self.machine.connect(seconds=20) as client:
                    client.sendall(b"knock\n")
                    answer = receive(client, len(b"knock\n"))
                    self.answered += answer == b"knock\n"
                    if answer not in (b"", b"knock\n"):
                        self.failures.append(answer)
            except OSError as error:
                self.failures.append(repr(error))
