# SPDX-License-Identifier: MIT
"""The code, the journal catalog, the manual pages and the package say the same."""

import re
from pathlib import Path

import pytest

TREE = Path(__file__).resolve().parents[2]
CATALOG = (TREE / "units/echod.catalog").read_text()
PAGES = "src/echo/echod.8", "src/receiver/receiverd.8"
OF_EVERY_RECORD = {"SYSLOG_IDENTIFIER", "_SYSTEMD_UNIT"}
ID = r"[0-9a-f]{32}"


def headers(directory="src"):
    return [path.read_text() for path in sorted((TREE / directory).rglob("*.h"))]


def message_ids(directory="src"):
    """{name: MESSAGE_ID}, of every #define."""
    found = re.findall(rf'^#define (\w+) "({ID})"', "\n".join(headers(directory)), re.MULTILINE)
    assert len(set(dict(found).values())) == len(found)
    return dict(found)


def records():
    """{MESSAGE_ID: [the fields of each record of this kind]}, as the formats in the code have them."""
    fields = {number: [] for number in message_ids().values()}
    for path in sorted((TREE / "src").rglob("*.c")):
        # A format is a row of string literals and macros.
        for text in re.findall(r'(?:"(?:\\.|[^"\\])*"|\w+|\\\n|\s)+', path.read_text()):
            if name := re.search(r"MESSAGE_ID=\"\s*(\w+)", text):
                fields[message_ids()[name[1]]].append(set(re.findall(r"([A-Z][A-Z_]+)=%", text)))
    return fields


def entries():
    """{MESSAGE_ID: its entry in the catalog}."""
    parts = re.split(rf"^-- ({ID})\n", CATALOG, flags=re.MULTILINE)[1:]
    found = list(zip(parts[::2], parts[1::2]))
    assert len(dict(found)) == len(found)
    return dict(found)


def described(page):
    """{MESSAGE_ID: the item about it}, in a manual page's section JOURNAL."""
    _, _, section = (TREE / page).read_text().partition("\n.Sh JOURNAL\n")
    items = re.split(r"^\.It ", section.partition("\n.El\n")[0], flags=re.MULTILINE)[1:]
    return {re.search(rf"^\.Li ({ID})", item, re.MULTILINE)[1]: item for item in items}


def test_every_kind_of_record_is_written_somewhere():
    assert [number for number, formats in records().items() if not formats] == []


def test_catalog_has_an_entry_for_every_kind_of_record_and_no_other():
    assert entries().keys() == set(message_ids().values())


@pytest.mark.parametrize("number", entries())
def test_entry_says_what_happened_and_what_to_do(number):
    head, _, text = entries()[number].partition("\n\n")
    keys = [line.partition(": ")[0] for line in head.splitlines()]
    assert keys == ["Subject", "Defined-By", "Documentation"]
    assert len(text.strip().split("\n\n")) >= 2
    assert max(map(len, text.splitlines())) <= 84  # journalctl puts three characters before each line


@pytest.mark.parametrize("number", entries())
def test_entry_quotes_only_fields_that_the_record_always_has(number):
    quoted = set(re.findall(r"@(\w+)@", entries()[number]))
    assert quoted <= set.intersection(*records()[number]) | OF_EVERY_RECORD


def test_pages_describe_every_kind_of_record():
    """receiverd(8) leaves to echod(8) what both services write; a sink is the receiver's alone."""
    core, own = message_ids("src/core"), message_ids("src/receiver")
    sinks = {core[name] for name in ("RECORD_SINK_LOST", "RECORD_FAULT")}
    assert described(PAGES[0]).keys() == set(core.values()) - {core["RECORD_SINK_LOST"]}
    assert described(PAGES[1]).keys() == set(own.values()) | sinks


@pytest.mark.parametrize("page", PAGES)
def test_page_names_the_fields_of_each_record(page):
    for number, item in described(page).items():
        assert set(re.findall(r"^\.Va (\w+)", item, re.MULTILINE)) == set.union(*records()[number]), item


def test_contributing_names_files_and_functions_that_exist():
    text = (TREE / "CONTRIBUTING.md").read_text()
    code = "\n".join(path.read_text() for path in (TREE / "src").rglob("*.c"))
    names = re.findall(r"`(\w+)\(\)`", text)
    assert names and [name for name in names if not re.search(rf"^\w.*\b{name}\(", code, re.MULTILINE)] == []
    paths = re.findall(r"`([\w./-]+\.(?:c|h|in|md|conf))`", text)
    exist = [(TREE / path).exists() or any((TREE / "src").rglob(path)) for path in paths]
    assert exist and all(exist), list(zip(paths, exist))


def test_versions_are_one():
    version, = re.findall(r"version : '(\d+\.\d+\.\d+)'", (TREE / "meson.build").read_text())
    package = (TREE / "packaging/debian/changelog").read_text()
    assert re.match(r"echod \((.*)\)", package)[1] == version
