# SPDX-License-Identifier: MIT
"""Makes every system call of the table fail, under clients that talk, and checks the rules (cases.py)."""

from concurrent.futures import ThreadPoolExecutor
from itertools import groupby

import pytest

import table
from cases import LONG, AcceptorLane, Fault, JournalLane, WorkerLane
from starts import StartLane, StopLane

WINDOW = 2.0 if LONG else 0.3
LANES = 5


def lane_of(process, phase, journal):
    if phase in ("start", "adopt") and process == "acceptor":
        return StartLane(phase, journal)
    if phase == "stop":
        return StopLane(process, journal)
    if process == "acceptor" or phase == "start":
        return JournalLane() if journal else AcceptorLane()
    return WorkerLane()


def times(lane, row, first):
    """When the calls are to fail: the first, the second, each; when starting, after those of the loader."""
    before, count = 0, 1 if "once" in row.words else 2
    if isinstance(lane, StartLane):
        before, count = lane.calls().get(row.calls[0], (0, 2))
    whens = ["1..1000" if "brief" in row.words else f"{before + 1}+"]
    if LONG:
        whens += [str(n) for n in range(before + 1, count + 1)]
    elif first:
        whens += [str(n) for n in (before + 1, before + 2) if n <= count]
    return whens


def faults(lane, rows):
    for row in rows:
        for i, errno in enumerate(row.errnos):
            for when in times(lane, row, i == 0):
                yield Fault(row.process, row.phase, row.calls[0], errno, when, row.words)


def cases():
    """The rows of one call are one test."""
    rows = (row for row in table.rows() if row.errnos and (LONG or "long" not in row.words))
    for case, some in groupby(rows, lambda row: (row.process, row.phase, row.calls[0])):
        yield pytest.param(list(some), id="-".join(case))


@pytest.fixture(scope="module")
def lanes():
    """A few services at once for each kind of case: most of the time passes in waiting."""
    made = {}

    def get(process, phase, words):
        key = process, phase, "journal" in words
        return made.setdefault(key, [lane_of(*key) for _ in range(LANES)])

    yield get
    for lane in (lane for some in made.values() for lane in some):
        lane.close()


@pytest.mark.parametrize("rows", cases())
def test_service_outlives_failures_of(rows, lanes):
    mine = lanes(rows[0].process, rows[0].phase, rows[0].words)
    todo = iter(list(faults(mine[0], rows)))

    def work(lane):
        troubles = []
        for fault in todo:
            troubles += lane.run(fault, WINDOW)
        return troubles + lane.status_is_right()

    with ThreadPoolExecutor(LANES) as pool:
        troubles = sum(pool.map(work, mine), [])
    assert not troubles, "\n" + "\n".join(troubles)
