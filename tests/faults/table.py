# SPDX-License-Identifier: MIT
"""Reads the table of system calls and their errnos."""

from pathlib import Path
from typing import NamedTuple

PATH = Path(__file__).with_name("table")


class Row(NamedTuple):
    process: str
    phase: str
    calls: tuple  # the names of one call
    errnos: tuple
    words: frozenset
    others: tuple  # (call, errno) of those that must fail, too


def rows():
    for line in PATH.read_text().splitlines():
        fields, _, words = line.partition("#")[0].partition(":")
        if not fields.split():
            continue
        process, phase, call, *errnos = fields.split()
        words = words.split() if errnos != ["never"] else []
        errnos = [errno for errno in errnos if errno != "never"]
        others = tuple(tuple(word[5:].split("/")) for word in words if word.startswith("with="))
        yield Row(process, phase, tuple(call.split("/")), tuple(errnos),
                  frozenset(word for word in words if "=" not in word), others)
