# SPDX-License-Identifier: MIT
"""Every test gets a machine of its own, freshly booted, once for each --root.

    pytest tests/system --root build/roots/bookworm --root build/roots/trixie
"""

import contextlib
import os
import signal
from pathlib import Path

import pytest

pytest.register_assert_rewrite("machine", "service", "talkers")

from machine import Machine  # noqa: E402 (after the line above, which it is to take effect for)


def pytest_addoption(parser):
    parser.addoption("--root", action="append", type=Path,
                     help="a root that install-into has filled; repeatable")


def pytest_configure(config):
    if not config.getoption("--root"):
        raise pytest.UsageError("no --root: see tests/system/make-root and tests/system/install-into")

    config.addinivalue_line("markers", "long: takes minutes; for tests/run --long")

    def stop(*_):
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)  # timeout(1) passes on what has reached all of its group
        raise KeyboardInterrupt  # pytest then tears the fixtures down

    for number in (signal.SIGINT, signal.SIGTERM):  # SIGINT too: a shell's background jobs ignore it
        signal.signal(number, stop)


def pytest_generate_tests(metafunc):
    if "machine" in metafunc.fixturenames:
        roots = metafunc.config.getoption("--root")
        metafunc.parametrize("machine", roots, ids=lambda root: root.name, indirect=True)


def pytest_collection_modifyitems(items):
    if "ECHOD_TEST_LONG" not in os.environ:
        items[:] = [item for item in items if not item.get_closest_marker("long")]


@pytest.fixture
def machine(request):
    with contextlib.closing(Machine(request.param)) as machine:
        yield machine
        # pytest shows it if the test has failed
        print(machine.run("journalctl", "--no-pager", "--lines=200"))


@pytest.fixture
def echo(machine):
    """A machine on which echo.socket has been started, and nothing else has happened."""
    machine.run("systemctl", "start", "echo.socket")
    return machine


@pytest.fixture
def receiver(machine):
    """A machine on which receiver.socket has been started, and nothing else has happened."""
    machine.run("systemctl", "start", "receiver.socket")
    return machine
