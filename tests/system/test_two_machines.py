# SPDX-License-Identifier: MIT
"""The recipe of receiverd(8): lines that one machine receives are kept by another one, though the link is cut."""

import contextlib
import json
import re
import subprocess
from pathlib import Path

import pytest

from machine import Machine, eventually
from service import LINE, records

MANUAL = Path(__file__).resolve().parents[2] / "src/receiver/receiverd.8"
HERE, THERE = "192.0.2.1", "192.0.2.2"
LINES = 500  # before the link is cut, meanwhile, and after


def recipe():
    """{file: text} as the manual shows it."""
    files = re.findall(r"^\.\\\" recipe: (\S+)\n\.Bd .*\n((?:.*\n)*?)\.Ed$", MANUAL.read_text(), re.MULTILINE)
    return {path: text.replace("logs.example.org", THERE).replace("\\e\n", "\\\n") for path, text in files}


def write(machine, path, text):
    machine.path(path).parent.mkdir(parents=True, exist_ok=True)
    machine.path(path).write_text(text)


@pytest.fixture
def there(request, machine):
    """A second machine, and a cable between the two."""
    with contextlib.closing(Machine(request.node.callspec.params["machine"])) as other:
        subprocess.run(["ip", "link", "add", "cable", "netns", str(machine.leader), "type", "veth",
                        "peer", "name", "cable", "netns", str(other.leader)], check=True)
        for end, address in ((machine, HERE), (other, THERE)):
            end.run("ip", "address", "add", f"{address}/24", "dev", "cable")
            end.run("ip", "link", "set", "cable", "up")
        yield other
        print(other.run("journalctl", "--no-pager", "--lines=50"))


def test_no_line_is_missing_on_the_other_machine_after_the_link_was_cut(receiver, there):
    for path, text in recipe().items():
        write(there if "remote" in path else receiver, path, text)
    for end in (receiver, there):
        end.run("systemctl", "daemon-reload")
    there.run("systemctl", "enable", "--now", "systemd-journal-remote.socket")
    receiver.run("systemctl", "enable", "--now", "systemd-journal-upload.service")
    said = 0

    def say(client):
        nonlocal said
        client.sendall(b"".join(b"line %d\n" % (said + i) for i in range(LINES)))
        said += LINES
        eventually(lambda: len(records(receiver, LINE, "receiver.service")) == said, "every line is in the journal")

    def kept():
        text = there.run("sh", "-c", "journalctl --quiet --output=json --directory=/var/log/journal/remote "
                                     f"MESSAGE_ID={LINE} 2>/dev/null || true")
        return {record["OFFSET"]: record for record in map(json.loads, text.splitlines())}

    with receiver.connect(4041) as client:
        say(client)
        eventually(lambda: len(kept()) == said, "every line is kept there", 30)
        receiver.run("ip", "link", "set", "cable", "down")
        say(client)
        receiver.run("systemctl", "kill", "-s", "KILL", "systemd-journal-upload.service")
        eventually(lambda: int(receiver.show("systemd-journal-upload.service", "NRestarts")) >= 2,
                   "the upload has been tried again", 30)
        say(client)
        assert len(kept()) == said - 2 * LINES
        receiver.run("ip", "link", "set", "cable", "up")
        say(client)
    eventually(lambda: len(kept()) == said, "every line is kept there", 60)
    here = {record["OFFSET"]: record for record in records(receiver, LINE, "receiver.service")}
    for offset, record in kept().items():
        for field in ("MESSAGE", "PEER", "SESSION"):
            assert record[field] == here[offset][field]
