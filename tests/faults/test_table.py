# SPDX-License-Identifier: MIT
"""Whether the table names every system call that the service makes."""

import lives
import table

ELSEWHERE = {"stop": ("stop", "steady"), "adopt": ("adopt", "start")}


def known(process, phase):
    phases = ELSEWHERE.get(phase, (phase,))
    rows = [row for row in table.rows() if row.process == process and row.phase in phases]
    return {call for row in rows for call in row.calls}


def test_every_call_that_the_service_makes_is_in_the_table():
    trace = lives.Trace()
    lives.busy_life(trace)
    lives.life_without_systemd(trace)
    lives.life_with_journal(trace)
    missing = [f"{process} {phase}: {line[:100]}"
               for (process, phase), calls in sorted(trace.calls.items())
               for call, line in sorted(calls.items()) if call not in known(process, phase)]
    assert not missing, "\n" + "\n".join(missing)


def test_every_call_left_out_has_a_reason():
    for line in table.PATH.read_text().splitlines():
        if not line.startswith("#") and " never " in line:
            assert line.partition(":")[2].strip(), line
