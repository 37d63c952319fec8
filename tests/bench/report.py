# SPDX-License-Identifier: MIT
"""Writes the page of results from what bench.py and booted.py have saved. Usage: report.py FILE DIRECTORY"""

import json
import sys
from pathlib import Path

import plot
import receive
from bench import ALONE, CORE, CORES, FORKS, LOG, QUESTIONS, medians, table

RATE, P99 = 0, 2
ALONE_AS = {"echod": ALONE, CORE: f"{ALONE} {CORES}"}
# question, column, compared with (None: the figure itself), at most or at least, and for the default and for
# --workers=cores: what must be reached, and what is aimed at
TARGETS = (
    ("rate 1", RATE, "go", ">=", (1.1, 1.1), (1.3, 1.3)),
    ("rate 1", RATE, "epoll", ">=", (0.75, 0.75), (0.9, 0.9)),
    ("rate 64", RATE, "go", ">=", (0.92, 0.92), (1.05, 1.05)),
    ("rate 64", RATE, "epoll", ">=", (0.85, 0.85), (1.0, 1.0)),
    ("rate 64", P99, "go", "<=", (0.75, 0.75), (0.75, 0.75)),
    ("rate 64", RATE, "a fork", ">=", (8, 8), (8, 8)),
    ("pingpong 1", RATE, "epoll", ">=", (0.95, 0.95), (1.0, 1.0)),
    ("pingpong 50", RATE, "go", ">=", (0.8, 1.0), (0.95, 1.2)),
    ("pingpong 50", RATE, "a fork", ">=", (1, 1), (1, 1)),
    ("pingpong 50", P99, "go", "<=", (0.5, None), (0.5, None)),
    ("pingpong 500", RATE, "go", ">=", (0.9, 1.2), (1.1, 1.4)),
    ("pingpong 500", RATE, "epoll", ">=", (None, None), (None, 1.0)),
    ("pingpong 5000", RATE, "go", ">=", (1.15, 1.35), (1.25, 1.45)),
    ("pingpong 5000", RATE, "epoll", ">=", (None, None), (1.0, 1.1)),
    ("bulk 4", RATE, "epoll", ">=", (1.5, 1.5), (1.5, 1.5)),
    ("idle 10000", RATE, None, "<=", (2.5, 1.7), (2.0, 1.5)),
    ("rate 64", RATE, LOG, ">=", (0.97, None), (0.99, None)),
    ("receive 1", RATE, "elixir", ">=", (20, 20), (20, 20)),
    ("receive 1", RATE, "rsyslog", ">=", (1, 1), (2, 2)),
    ("receive 100", RATE, "elixir", ">=", (20, 20), (20, 20)),
    ("receive 100", RATE, "rsyslog", ">=", (1, 1), (2, 2)),
    ("receive 100, a line a packet", RATE, "rsyslog", ">=", (1, 1), (2, 2)),
)


def compare(middle, name, column, other):
    if name not in middle:
        return None
    if other == "a fork":
        forks = [middle[peer][column] for peer in FORKS if peer in middle]
        return middle[name][column] / max(forks) if forks else None
    if other is None:
        return middle[name][column]
    return middle[name][column] / middle[other][column] if other in middle else None


def verdict(value, sign, must, aim):
    def reaches(wanted):
        return value >= wanted if sign == ">=" else value <= wanted
    if aim is not None and reaches(aim):
        return "aim"
    if must is None:
        return "below the aim"
    return "must" if reaches(must) else "**missed**"


def targets(saved):
    yield "| question | figure | --workers | reached | hand-over alone | must | aim | |"
    yield "|---|---|---|---:|---:|---:|---:|---|"
    for question, column, other, sign, musts, aims in TARGETS:
        if question not in saved:
            continue
        middle = medians(saved[question]["figures"])
        what = "KiB a client" if other is None else f"{'p99' if column == P99 else 'rate'}, x {other}"
        ours = [name for name in middle if name.split()[0] in ("echod", "receiverd") and name != LOG]
        for name, must, aim in zip(ours, musts, aims):
            value = compare(middle, name, column, other)
            if value is None or (must is None and aim is None):
                continue
            # Its processes are forked before it is asked, so that what they take is in none of its memory.
            least = None if other in (None, LOG) else compare(middle, ALONE_AS.get(name), column, other)
            limits = ["" if limit is None else f"{sign} {limit}" for limit in (must, aim)]
            yield (f"| {question} | {what} | {'cores' if 'workers' in name else 'default'} | {value:.2f} | "
                   f"{'' if least is None else f'{least:.2f}'} | {limits[0]} | {limits[1]} | "
                   f"{verdict(value, sign, must, aim)} |")
    if "activate" in saved:
        middle = medians(saved["activate"]["figures"])
        value = middle["echo.service"][0] / middle["bare unit"][0]
        yield f"| activate | x bare unit | default | {value:.2f} | | <= 3 | <= 1.5 | {verdict(value, '<=', 3, 1.5)} |"


def plots(saved, directory):
    middle = {question: medians(answer["figures"]) for question, answer in saved.items()}
    shown = [question for question in saved if question.startswith(("rate", "pingpong"))]
    bars = {name: [middle[question].get(name, [0])[0] / middle[question]["epoll"][0] for question in shown]
            for name in ("echod", CORE, "go", "elixir", "tcpserver")}
    title = "Connections or lines a second, as a multiple of epoll's"
    (directory / "rates.svg").write_text(plot.bars(title, shown, bars))
    held = [question for question in saved if question.startswith("scale")]
    xs = [int(question.split()[1]) for question in held]
    lines = {name: [middle[question][name][0] for question in held]
             for name in ("echod", CORE, "go", "epoll")
             if all(name in middle[question] for question in held)}
    if held:
        (directory / "scale.svg").write_text(
            plot.lines("Connections a second, against the clients already connected", xs, lines))


def main(path, directory):
    saved = json.loads(Path(path).read_text())
    order = [*QUESTIONS, *receive.QUESTIONS, *saved]
    saved = {question: saved[question] for question in sorted(saved, key=order.index)}
    plots(saved, Path(directory))
    first = next(iter(saved.values()))
    page = [
        "# How fast", "",
        "Made by `tests/bench/run --page`. Do not edit it: run the command.", "",
        f"The machine: {first['machine']}.",
        "Load and servers share its cores. For each question all servers were asked in turn, round after round;",
        "a figure is the median of the rounds, +- half of their range.", "",
        "What the questions are is told in `load.c`, `receive.py` and `booted.py`, what the servers are in `peers.py`.",
        "\"epoll\" is a server with one thread, no log and no limits: the ceiling for one event loop, not for two cores.",
        f"\"{ALONE}\" is the least that hands each client to one of 64 processes (`hand-over.c`; \"{ALONE} {CORES}\": one of",
        f"{CORES}), without log, limits, lines or restarts: what is beyond it is out of this design's reach on this machine.",
        "\"cores\" has as many workers as there are cores; \"must\" and \"aim\" are what is demanded and what is hoped for.", "",
        "## Targets", "", *targets(saved), "",
        "## Plots", "", "![Rates](rates.svg)", "", "![Scale](scale.svg)", "",
        "## Tables", "",
    ]
    for question, answer in saved.items():
        heading, *rest = table(question, answer["figures"])
        rounds = max(map(len, answer["figures"].values()))
        busy = f"; load average at the end {answer['load']:.0f}" if "load" in answer else ""
        page += [heading, f"{rounds} rounds{busy}\n", *rest]
    (Path(directory) / "results.md").write_text("\n".join(page).rstrip() + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
