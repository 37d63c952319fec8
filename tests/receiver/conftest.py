# SPDX-License-Identifier: MIT
"""receiverd with real sockets and real deaths, under a systemd that tests/faults plays.

    RECEIVERD=build/gcc/src/receiverd pytest tests/receiver
"""

import contextlib
import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[1] / "faults"))
pytest.register_assert_rewrite("receiver")

from manager import eventually  # noqa: E402 (after the lines above, which it needs)
from receiver import Pipe, Receiver, children  # noqa: E402

PR_SET_CHILD_SUBREAPER = 36
CLONE_NEWNET = 0x40000000


@pytest.fixture(scope="session", autouse=True)
def orphans_come_here():
    assert ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0


def leftovers():
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0] > 0:
            pass
    return children(os.getpid())


@pytest.fixture(scope="session", autouse=True)
def own_network():
    """Where the kernel's tables are short; without the right to that, the tests are slower."""
    if ctypes.CDLL(None).unshare(CLONE_NEWNET) == 0:
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


@pytest.fixture
def pipe():
    with contextlib.closing(Pipe()) as pipe:
        yield pipe


@pytest.fixture
def receive(tmp_path):
    """Starts a receiver; it is stopped after the test, and nothing of it stays."""
    receivers = []

    def start(*options, **more):
        receivers.append(Receiver(tmp_path / f"lines-{len(receivers)}", *options, **more))
        receivers[-1].serve()
        return receivers[-1]
    yield start
    for receiver in receivers:
        receiver.stop()
        print(receiver.text()[-5000:])  # pytest shows it if the test has failed
    eventually(lambda: not leftovers(), "end of every process")
    for receiver in receivers:
        assert "Sanitizer" not in receiver.text() and "runtime error:" not in receiver.text()
