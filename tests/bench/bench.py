# SPDX-License-Identifier: MIT
"""Measures echod beside its peers; see tests/bench/run.

Usage: bench.py [--short] [--rounds=N] [--only=SERVER,...] [--save=FILE] BUILD [QUESTION...]

For each question, every server is asked in turn, and then again in each round, so that whatever else the
machine does meets all of them. A figure is the median of the rounds; +- is half of their range.
"""

import functools
import json
import os
import resource
import signal
import statistics
import subprocess
import sys
from pathlib import Path

import peers
import receive

CORES = os.cpu_count()
FORKS = {"tcpserver", "xinetd", "socat", "socket-activate"}  # a process for each client, when it comes
MANY = {"idle": 1000}  # clients that those are asked to serve; else:
FEW = 100
LOG = "echod no log"
CORE = f"echod --workers={CORES}"
ALONE = "hand-over"

# question: mode of the load generator, clients, size of a line, clients that are connected and silent
QUESTIONS = {
    "rate 1": ("rate", 1, 64, 0),
    "rate 4": ("rate", 4, 64, 0),
    "rate 64": ("rate", 64, 64, 0),
    "pingpong 1": ("pingpong", 1, 64, 0),
    "pingpong 50": ("pingpong", 50, 64, 0),
    "pingpong 500": ("pingpong", 500, 64, 0),
    "pingpong 5000": ("pingpong", 5000, 64, 0),
    "bulk 1": ("bulk", 1, 64, 0),
    "bulk 4": ("bulk", 4, 64, 0),
    "bulk 1, 8 KiB": ("bulk", 1, 8192, 0),
    "bulk 4, 8 KiB": ("bulk", 4, 8192, 0),
    "idle 1000": ("idle", 1000, 64, 0),
    "idle 10000": ("idle", 10000, 64, 0),
    **{f"scale {held}": ("rate", 4, 64, held) for held in (0, 2000, 4000, 8000, 12000, 18000)},
}
SHORT = ("rate 1", "rate 64", "pingpong 50", "bulk 4", "idle 1000", "receive 100")


def load(build, server, mode, clients, seconds, size, held, enter=()):
    """[a second, p50, p99, p99.9] or None; `enter` runs it somewhere else."""
    command = [*enter, build / "tests/bench/load", mode, server.port, clients, seconds, size, held]
    done = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, text=True, timeout=120)
    return [float(word) for word in done.stdout.split()] if done.returncode == 0 else None


def idle(build, server, clients):
    """[KiB a client], by which the server's memory grows; or None."""
    before = server.memory()
    if before is None:
        return None
    with subprocess.Popen([build / "tests/bench/load", "idle", str(server.port), str(clients), "0"],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        ready = process.stdout.readline() == "ready\n"
        grown = server.memory() - before
        process.communicate()
    return [grown / clients / 1024] if ready else None


def measure(build, servers, question, rounds, seconds):
    """{server: [figures of each round]}"""
    mode, clients, size, held = QUESTIONS[question]
    asked = {name: how for name, how in servers.items()
             if name not in FORKS or clients <= MANY.get(mode, FEW)}
    if mode == "idle":
        rounds = 1  # memory that was once used is not given back
    if question.startswith("scale"):  # connecting all that are held takes longer than the round
        asked = {name: how for name, how in asked.items() if name in ("epoll", "echod", CORE, "go")}
        rounds = min(rounds, 5)

    def ask(_, server):
        if mode == "idle":
            return idle(build, server, clients)
        return load(build, server, mode, clients, seconds, size, held)
    return peers.ask_in_turn(question, functools.partial(peers.Server, build), asked, rounds, ask)


def medians(figures):
    return {name: [statistics.median(column) for column in zip(*rounds)] for name, rounds in figures.items()}


# What is counted, and the columns after it; else: a second, and how long a round took.
COUNTED = {  # the first that fits
    "idle": ("KiB a client", ()),
    "receive idle": ("KiB a client", ()),
    "activate": ("ms to the first echo", ()),
    "receive": ("lines a second", ("CPU, us a line", "torn lines")),
    "journal": ("lines a second", ("CPU, us a line",)),
}


def counted(question):
    kind = next((kind for kind in COUNTED if question.startswith(kind)), None)
    return COUNTED.get(kind, ("a second", ("p50, us", "p99, us")))


def table(question, figures):
    """The lines of a Markdown table."""
    middle = medians(figures)
    unit, more = counted(question)
    digits = 0 if unit.endswith("a second") else 1
    others = [name for name in ("epoll", ALONE, "go", "bare unit", "rsyslog", "elixir") if name in middle]
    if more and not any(row[1] for row in middle.values()):
        more = ()
    heads = [unit, "+-", *more, *(f"x {name}" for name in others)]
    yield f"### {question}\n"
    yield "| server | " + " | ".join(heads) + " |"
    yield "|---|" + "---:|" * len(heads)
    for name, rounds in figures.items():
        first = middle[name][0]
        spread = (max(r[0] for r in rounds) - min(r[0] for r in rounds)) / 2 / first
        cells = [f"{first:,.{digits}f}", f"{spread:.0%}" if len(rounds) > 1 else ""]
        cells += [f"{figure:,.{1 if 'CPU' in head else 0}f}" for head, figure in zip(more, middle[name][1:])]
        cells += [f"{first / middle[to][0]:.2f}" for to in others]
        yield f"| {name} | " + " | ".join(cells) + " |"
    yield ""


def machine():
    model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")),
                 os.uname().machine)
    release = next(line.split("=")[1].strip().strip('"') for line in open("/etc/os-release")
                   if line.startswith("PRETTY_NAME"))
    return f"{CORES} cores of {model}, Linux {os.uname().release}, {release}"


def have_a_journal():
    """Puts a socket where journald's is, for this process and its children only."""
    if os.geteuid() != 0:
        return
    if os.environ.get("ECHOD_BENCH_JOURNAL") != "1":
        os.environ["ECHOD_BENCH_JOURNAL"] = "1"
        os.execvp("unshare", ["unshare", "--mount", sys.executable, "-B", *sys.argv])
    peers.JOURNAL.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "journal", peers.JOURNAL.parent], check=True)
    peers.Sink(str(peers.JOURNAL))


def save(path, question, figures):
    """Adds them to what the file holds of other questions."""
    path = Path(path)
    saved = json.loads(path.read_text()) if path.exists() else {}
    saved[question] = {"machine": machine(), "load": os.getloadavg()[0], "figures": figures}
    path.write_text(json.dumps(saved, indent=1))


def main(arguments):
    options = dict(word[2:].partition("=")[::2] for word in arguments if word.startswith("--"))
    build, *questions = [word for word in arguments if not word.startswith("--")]
    build = Path(build).resolve()
    short = "short" in options
    rounds = int(options.get("rounds") or (1 if short else 11))
    seconds = 0.3 if short else 0.5
    only = set(filter(None, options.get("only", "").split(",")))
    have_a_journal()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # servers are stopped on the way out
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    servers, receivers = [
        {name: how for name, how in peers.available(build, of(build, CORES)).items() if not only or name in only}
        for of in (peers.peers, peers.receivers)]
    print(f"{machine()}; the load runs on the same cores. {rounds} rounds of {seconds} s.\n")
    for question in questions or (SHORT if short else [*QUESTIONS, *receive.QUESTIONS]):
        if question in receive.QUESTIONS:
            figures = receive.measure(build, receivers, question, rounds)
        else:
            figures = measure(build, servers, question, rounds, seconds)
        if not figures:
            print(f"{question}: no answers" + (", memory is counted for root only" if "idle" in question else ""))
            continue
        print("\n".join(table(question, figures)), flush=True)
        if "save" in options:
            save(options["save"], question, figures)


if __name__ == "__main__":
    main(sys.argv[1:])
