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


def rows():
    for line in PATH.read_text().splitlines():
        fields, _, words = line.partition("#")[0].partition(":")
        if fields.split():
            process, phase, call, *errnos = fields.split()
            if errnos == ["never"]:
                errnos, words = [], ""
            yield Row(process, phase, tuple(call.split("/")), tuple(errnos), frozenset(words.split()))
