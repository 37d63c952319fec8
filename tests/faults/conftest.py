# SPDX-License-Identifier: MIT
"""Makes each system call of table fail, under live clients. ECHOD=PROGRAM tests another than tests/run builds."""

import ctypes
import shutil

import pytest

PR_SET_CHILD_SUBREAPER = 36


@pytest.fixture(scope="session", autouse=True)
def workers_of_dead_acceptors_come_here():
    assert ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0


def pytest_collection_modifyitems(items):
    if shutil.which("strace") is None:
        for item in items:
            item.add_marker(pytest.mark.skip("needs strace"))
