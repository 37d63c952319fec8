# SPDX-License-Identifier: MIT
"""The README's console blocks show what really happens: they are run, in their order, and compared.

What is written there is compared character by character, but for these placeholders:

- A number of five digits is any number (a process, a client's port): always the same one, and another one than those
  that are written otherwise.
- A time such as "Nov 21 10:43:40" is any time, and "debian" behind it any host.
- A line "..." is any number of lines.
- Blanks may be more or fewer: programs align their columns to what stands in them.

A command that ends in a backslash goes on in the next line. In a block that is typed into, "^C" is that key,
what is behind "telnet> " is typed, and so is a line that comes twice (typed, and as its echo), or, said to the
receiver, one between telnet's greeting and its end. Where a client is needed, there is one. tests/run is compared
with its text only, and packaging/build-deb has been run by install-into.
"""

import os
import pty
import re
import select
import time
from pathlib import Path

from machine import eventually
from service import call, main_pid, receive_all, status, talk, worker_of

TREE = Path(__file__).resolve().parents[2]
README = (TREE / "README.md").read_text()
SOURCES = "/usr/src/echod"  # in the machine: install-into has put them there
QUERIES = ("journalctl ", "systemctl show ", "ss ")  # asked again until all that is to be shown has happened
NEEDING_CLIENTS = ("Crash, restart, stop, upgrade", "Seeing it at work", "Questions")
SECONDS = 60

PLACEHOLDER = re.compile(r"""
      (?P<number> (?<!\d) \d{5} (?!\d) )
    | (?P<time> [A-Z][a-z]{2}[ ]\d\d[ ]\d\d:\d\d:\d\d[ ]debian[ ] )
    | (?P<lines> ^\.\.\.\n )
    | (?P<blanks> [ ]+ )""", re.MULTILINE | re.VERBOSE)


class Placeholders:
    """What the numbers in the README stand for in this run."""

    def __init__(self):
        self._meant = {}

    def fill(self, command):
        return PLACEHOLDER.sub(lambda found: self._meant.get(found["number"], found[0]), command)

    def match(self, shown, text):
        shown, text = (re.sub(r" +$", "", either, flags=re.MULTILINE) for either in (shown, text))
        found = re.fullmatch(self._pattern(shown), text)
        if not found:
            return False
        meant = self._meant | {name[1:]: number for name, number in found.groupdict().items()}
        if len(set(meant.values())) < len(meant):
            return False
        self._meant = meant
        return True

    def _pattern(self, shown):
        pattern, end, new = "", 0, set()
        for found in PLACEHOLDER.finditer(shown):
            pattern += re.escape(shown[end:found.start()])
            end = found.end()
            match found.lastgroup:
                case "time":
                    pattern += r"[A-Z][a-z]{2} +\d+ \d\d:\d\d:\d\d \S+ "
                case "lines":
                    pattern += r"(?:.*\n)*"
                case "blanks":
                    pattern += r" +"
                case "number" if found[0] in self._meant:
                    pattern += self._meant[found[0]]
                case "number" if found[0] in new:
                    pattern += f"(?P=n{found[0]})"
                case "number":
                    pattern += rf"(?P<n{found[0]}>\d+)"
                    new.add(found[0])
        return pattern + re.escape(shown[end:])


class Step:
    """A command and what the README shows below it."""

    def __init__(self, section, line, command):
        self.section, self.line, self.command, self.shown = section, line, command, ""

    def __str__(self):
        return f"README.md:{self.line}: {self.command}"

    def compare(self, placeholders, text):
        assert placeholders.match(self.shown, text), f"{self}\nis said to show\n{self.shown}\nbut shows\n{text}"


def read_steps():
    section, steps, inside = None, [], False
    for number, line in enumerate(README.splitlines(), 1):
        if line.startswith("```"):
            inside = line == "```console"
        elif inside and line.startswith(("$ ", "# ")):
            steps.append(Step(section, number, line[2:]))
        elif inside and steps[-1].command.endswith("\\"):
            steps[-1].command += "\n" + line
        elif inside:
            steps[-1].shown += line + "\n"
        elif line.startswith("## "):
            section = line[3:]
    return steps


class Terminal:
    """A command in the machine, at a terminal of its own."""

    def __init__(self, machine, command):
        self.text = ""
        self._fd, line = pty.openpty()
        self._process = machine.start("setsid", "--ctty", "sh", "-c", f"cd {SOURCES} && exec {command}",
                                      stdin=line, stdout=line, stderr=line)
        os.close(line)

    def type(self, text):
        os.write(self._fd, text.encode())

    def read(self):
        """Reads on. Returns whether there was anything to read."""
        readable, _, _ = select.select([self._fd], [], [], SECONDS)
        try:
            more = os.read(self._fd, 65536) if readable else b""
        except OSError:  # EIO: everybody else has closed it
            more = b""
        self.text += more.decode().replace("\r", "")
        return more != b""

    def finish(self):
        while self.read():
            pass
        os.close(self._fd)
        self._process.wait(SECONDS)


def needs_terminal(step):
    return step.command.startswith("telnet ") or "\n^" in step.shown


def play(machine, placeholders, step, visit):
    """Types what is to be typed, each time when all that is shown above it has appeared."""
    terminal = Terminal(machine, placeholders.fill(step.command))

    def wait_for(shown):
        while not Placeholders().match(shown, terminal.text):
            if not terminal.read():
                step.compare(Placeholders(), terminal.text)

    above, is_typed = "", False
    lines = step.shown.splitlines(keepends=True)
    for line, next_line in zip(lines, [*lines[1:], ""]):
        if line.startswith("^"):
            wait_for(above)
            terminal.type(chr(ord(line[1]) & 0x1f))
        elif line.startswith("telnet> "):
            wait_for(above + "telnet> ")
            terminal.type(line.removeprefix("telnet> "))
        elif line == next_line or is_typed:
            wait_for(above)
            terminal.type(line)
            if is_typed:  # a person would not leave before it has come; the sink may have to start first
                eventually(lambda: line in machine.run("journalctl", "-u", "receiver", "-o", "cat"), line)
        elif "Accepting connections" in line:  # which it says when the first one comes
            wait_for(above)
            visit()
        is_typed = not line.startswith("^") and (
            is_typed or (step.command.endswith(" 4041") and line.startswith("Escape ")))
        above += line
        if "left: " in line:
            wait_for(above)
    terminal.finish()
    step.compare(placeholders, terminal.text)


def perform(machine, placeholders, step):
    """Runs a command that must succeed, unless the README shows what it says instead."""
    status = None if step.shown.strip(".\n") else 0
    deadline = time.monotonic() + 5
    while True:
        text = machine.run("sh", "-c", f"cd {SOURCES} && {placeholders.fill(step.command)}",
                           status=status, seconds=SECONDS)
        is_late = time.monotonic() > deadline
        if is_late or not step.command.startswith(QUERIES) or placeholders.match(step.shown, text):
            break
        time.sleep(0.1)
    step.compare(placeholders, text)


def test_console_blocks_show_what_happens(machine, monkeypatch):
    monkeypatch.setenv("NO_INSTALL", "1")  # there is no network to install from
    placeholders, clients, workers = Placeholders(), {}, set()

    def arrive():
        client = machine.connect()
        talk(client)
        return client

    def visit():
        with arrive() as client:
            talk(client)

    def play_a_busy_day():
        """One client is there; 19 come, and one too many; one is lost, 18 leave, and one comes and goes."""
        lost, *others = [arrive() for _ in range(19)]
        with machine.connect() as refused:
            assert receive_all(refused) == b""
        machine.kill(worker_of(machine, lost), "KILL")
        assert receive_all(lost) == b""
        for client in others:
            client.close()
        eventually(lambda: status(machine).startswith("1 clients, "), "they have left")
        visit()

    for step in read_steps():
        if step.section in NEEDING_CLIENTS and step.section not in clients:
            for earlier in clients.values():
                earlier.close()
            eventually(lambda: not workers & machine.processes("echod").keys(), "their workers have left, too")
            clients[step.section] = arrive()
            workers.add(worker_of(machine, clients[step.section]))
            if step.section == "Seeing it at work":
                play_a_busy_day()
        if step.command == "systemctl stop echo.socket":
            clients["stopped"] = arrive()
            machine.kill(worker_of(machine, clients["stopped"]), "STOP")

        if step.command in ("tests/run", "packaging/build-deb"):
            continue
        if needs_terminal(step):
            play(machine, placeholders, step, visit)
        else:
            perform(machine, placeholders, step)

        if step.command.startswith("kill "):
            assert receive_all(clients[step.section]) == b""
        elif "restart" in step.command:
            for client in clients.values():
                talk(client)
        elif step.command.startswith("systemctl kill "):
            eventually(lambda: not machine.processes("echod"), "no process is left")


DROP_INS = re.findall(r"^```ini\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def test_drop_in_sets_the_options(echo):
    drop_in, _ = DROP_INS
    echo.drop_in("echo.service", drop_in)
    call(echo)
    arguments = echo.path(f"/proc/{main_pid(echo)}/cmdline").read_text().rstrip("\0").split("\0")[1:]
    assert f"ECHOD_OPTIONS={' '.join(arguments)}\"" in drop_in


def test_drop_in_has_lines_written_into_a_file(receiver):
    _, drop_in = DROP_INS
    receiver.drop_in("receiver.service", drop_in)
    shown = [line.split(" ", 3) for line in re.findall(r"^[0-9a-f]+-\d+ \d+ - .*", README, re.MULTILINE)]
    with receiver.connect(4041) as client:
        for *_, line in shown:
            client.sendall(line.encode() + b"\r\n")
    file = receiver.path(re.search("append:(.*)", drop_in)[1])
    eventually(lambda: file.exists() and file.read_text().count("\n") == len(shown), "every line is in the file")
    assert [line.split(" ", 3)[1:] for line in file.read_text().splitlines()] == [line[1:] for line in shown]


def test_last_line_of_tests_run_is_what_it_echoes():
    step, = (step for step in read_steps() if step.command == "tests/run")
    program = TREE / step.command
    assert os.access(program, os.X_OK)
    last = re.sub(r"\d+", "N", step.shown.splitlines()[-1])
    assert f'echo "{last}"\n' in re.sub(r"\$\w+", "N", program.read_text())
