# SPDX-License-Identifier: MIT
"""What the installed programs say about themselves, and what their manual pages say."""

import re
from pathlib import Path

import pytest

from machine import eventually
from service import CONNECTED, WORKER_LOST, call, name, records, talk, worker_of

TREE = Path(__file__).resolve().parents[2]
PAGES = {"echod": TREE / "src/echo/echod.8", "receiverd": TREE / "src/receiver/receiverd.8"}


def roff_options(line):
    """Options as mdoc writes them: Fl -workers Ns = Ns Ar N."""
    return re.findall(r"Fl -([\w-]+)(?: Ns = Ns Ar (\w+))?", line)


@pytest.mark.parametrize("program", PAGES)
def test_help_page_and_synopsis_have_the_same_options_in_the_same_order(machine, program):
    shown = re.findall(r"^  --([\w-]+)(?:=(\w+))? ", machine.run(program, "--help"), re.MULTILINE)
    assert len(shown) > 2
    page = PAGES[program].read_text()
    synopsis = page.partition("\n.Sh SYNOPSIS\n")[2].partition("\n.Sh ")[0]
    described = page.partition("\n.Sh OPTIONS\n")[2].partition("\n.Sh ")[0]
    assert roff_options(synopsis) == shown
    assert [roff_options(line)[0] for line in described.splitlines() if line.startswith(".It Fl -")] == shown


def test_page_is_installed(machine):
    for program, page in PAGES.items():
        assert machine.path(f"/usr/share/man/man8/{program}.8").read_text() == page.read_text()


def test_journal_explains_its_records(echo):
    echo.run("journalctl", "--update-catalog")
    with echo.connect() as client:
        talk(client)
        worker = worker_of(echo, client)
        echo.kill(worker, "KILL")
        eventually(lambda: records(echo, WORKER_LOST), "a record of the lost worker")
        explained = echo.run("journalctl", "-x", "-o", "short", f"MESSAGE_ID={WORKER_LOST}")
        assert f"Subject: Worker {worker} has died with 1 clients: killed by SIGKILL" in explained
        assert f"    journalctl _PID={worker}\n" in explained
        assert "Documentation: man:echod(8)" in explained
        explained = echo.run("journalctl", "-x", f"MESSAGE_ID={CONNECTED}")
        assert f"Subject: Client {name(client)} has connected" in explained
        assert not re.search(r"@\w+@", explained)
    call(echo)
