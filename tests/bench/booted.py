# SPDX-License-Identifier: MIT
"""What the unit costs, in a booted systemd: echod as echo.service starts it beside a bare unit.

Usage: booted.py [--short] [--save=FILE] BUILD ROOT; ROOT is made by tests/system/make-root.
Prints how long a client waits that finds the service stopped, what the sandbox takes from the rates, and how
fast lines reach the journal.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "system"))

import bench  # noqa: E402 (after the line above, as the next three)
import receive  # noqa: E402
from machine import Machine  # noqa: E402
from service import talk  # noqa: E402

BARE_PORT = 4050
BARE = {
    "bare.socket": f"[Socket]\nListenStream={BARE_PORT}\nBacklog=4096\nNoDelay=yes\nTriggerLimitIntervalSec=0\n",
    "bare.service": "[Unit]\nStartLimitIntervalSec=0\n"
                    "[Service]\nType=notify\nNotifyAccess=main\nExecStart=/usr/sbin/echod\nKillMode=process\n"
                    "FileDescriptorStoreMax=4609\nLimitNOFILE=65536\nLogRateLimitIntervalSec=1us\n",
}
PORTS = {"echo.service": 4040, "bare unit": BARE_PORT}
UNITS = {"echo.service": "echo", "bare unit": "bare"}
CAT = "[Service]\nExecStart=systemd-socket-activate --accept --listen=4051 sh -c 'exec cat <&3'\n" \
      "LogRateLimitIntervalSec=1us\n"
TO_JOURNAL = {"receiver.service": 4041, "cat.service": 4051}
LINES = 20_000
RATES = ("rate 1", "rate 64", "pingpong 1", "pingpong 50")


class Port:
    """What bench.load() asks of a server."""

    def __init__(self, port):
        self.port = port


def install(machine, build):
    units = machine.path("/etc/systemd/system")
    for unit in ("echo.socket", "echo.service", "receiver.socket", "receiver.service"):
        shutil.copy(build / "units" / unit, units)
    for unit, text in {**BARE, "cat.service": CAT}.items():
        (units / unit).write_text(text)
    for program in ("echod", "receiverd"):
        shutil.copy(build / "src" / program, machine.path("/usr/sbin"))
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "start", "echo.socket", "bare.socket", "receiver.socket", "cat.service")


def activation(machine, rounds):
    """{unit: [[ms from connect to the first echo] of each round]}"""
    figures = {name: [] for name in PORTS}
    for _ in range(rounds):
        for name, port in PORTS.items():
            machine.run("systemctl", "stop", f"{UNITS[name]}.service")
            with machine.network():
                began = time.monotonic()
                with machine.connect(port) as client:
                    talk(client)
                    figures[name].append([(time.monotonic() - began) * 1000])
    return figures


def rates(machine, build, question, rounds, seconds):
    mode, clients, size, held = bench.QUESTIONS[question]
    enter = ("nsenter", "--net", f"--target={machine.leader}")
    figures = {name: [] for name in PORTS}
    for _ in range(rounds):
        for name, port in PORTS.items():
            figures[name].append(bench.load(build, Port(port), mode, clients, seconds, size, held, enter))
    return figures


def processor(machine):
    """Seconds that all processes of the machine have run, but for those that read the journal."""
    ticks = 0
    for path in machine.path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            name, _, rest = path.read_text().rpartition(") ")
            ticks += 0 if "journalctl" in name else sum(map(int, rest.split()[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def journal(machine, rounds, lines):
    """{unit: [[lines a second, CPU us a line] of each round]}, until a reader of the journal has seen all of them"""
    figures = {unit: [] for unit in TO_JOURNAL}
    parts = receive.compose(1, lines, 1000)
    for _ in range(rounds):
        for unit, port in TO_JOURNAL.items():
            cursor = machine.run("journalctl", "--quiet", "--lines=0", "--show-cursor").split()[-1]
            reader = machine.start("journalctl", "--quiet", "--follow", f"--after-cursor={cursor}", "--output=cat",
                                   f"--unit={unit}", stdout=subprocess.PIPE)
            used, began = processor(machine), time.monotonic()
            with machine.connect(port) as client:
                receive.send([client], parts)
                seen = 0
                while seen < lines:
                    seen += reader.stdout.readline().startswith(b"client 0")
                took, used = time.monotonic() - began, processor(machine) - used
            reader.kill()
            figures[unit].append([lines / took, 1e6 * used / lines])
    return figures


def main(arguments):
    options = dict(word[2:].partition("=")[::2] for word in arguments if word.startswith("--"))
    build, root = [Path(word).resolve() for word in arguments if not word.startswith("--")]
    rounds, seconds = (3, 0.3) if "short" in options else (15, 1)
    answers = {}
    with contextlib.closing(Machine(root)) as machine:
        install(machine, build)
        answers["activate"] = activation(machine, rounds)
        for question in RATES:
            answers[f"unit {question}"] = rates(machine, build, question, min(rounds, 5), seconds)
        answers["journal 1"] = journal(machine, min(rounds, 5), LINES)
    for question, figures in answers.items():
        print("\n".join(bench.table(question, figures)))
        if "save" in options:
            bench.save(options["save"], question, figures)


if __name__ == "__main__":
    main(sys.argv[1:])
