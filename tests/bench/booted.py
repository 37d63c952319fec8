# SPDX-License-Identifier: MIT
"""What the unit costs, in a booted systemd: echod as echo.service starts it beside a bare unit.

Usage: booted.py [--short] [--save=FILE] BUILD ROOT; ROOT is made by tests/system/make-root.
Prints how long a client waits that finds the service stopped, and what the sandbox takes from the rates.
"""

import contextlib
import shutil
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "system"))

import bench  # noqa: E402 (after the line above, as the next two)
from machine import Machine  # noqa: E402
from service import talk  # noqa: E402

BARE_PORT = 4050
BARE = {
    "bare.socket": f"[Socket]\nListenStream={BARE_PORT}\nBacklog=4096\nNoDelay=yes\nTriggerLimitIntervalSec=0\n",
    "bare.service": "[Unit]\nStartLimitIntervalSec=0\n"
                    "[Service]\nType=notify\nNotifyAccess=main\nExecStart=/usr/sbin/echod\nKillMode=process\n"
                    "FileDescriptorStoreMax=4608\nLimitNOFILE=65536\nLogRateLimitIntervalSec=0\n",
}
PORTS = {"echo.service": 4040, "bare unit": BARE_PORT}
UNITS = {"echo.service": "echo", "bare unit": "bare"}
RATES = ("rate 1", "rate 64", "pingpong 1", "pingpong 50")


class Port:
    """What bench.load() asks of a server."""

    def __init__(self, port):
        self.port = port


def install(machine, build):
    units = machine.path("/etc/systemd/system")
    for unit in ("echo.socket", "echo.service"):
        shutil.copy(build / "units" / unit, units)
    for unit, text in BARE.items():
        (units / unit).write_text(text)
    shutil.copy(build / "src/echod", machine.path("/usr/sbin/echod"))
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "start", "echo.socket", "bare.socket")


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
    for question, figures in answers.items():
        print("\n".join(bench.table(question, figures)))
        if "save" in options:
            bench.save(options["save"], question, figures)


if __name__ == "__main__":
    main(sys.argv[1:])
