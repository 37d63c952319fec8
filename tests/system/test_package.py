# SPDX-License-Identifier: MIT
"""The Debian package, on a machine that has never seen the program: installed, upgraded, removed, purged."""

import re

import pytest

from machine import eventually
from service import Knocker, call, main_pid, receive_all, status, talk
from talkers import Talkers

BUILT = "/usr/src/echod/build/deb"  # where install-into has put the package
CROWD = 100
# What others write to: the package manager, systemd and the test.
OTHERS = ["/var/lib/dpkg", "/var/lib/apt", "/var/cache", "/var/log", "/var/lib/systemd/catalog", "/var/tmp",
          "/tmp", "/root", "/usr/src"]


def deb(machine):
    path, = machine.path(BUILT).glob("echod_*.deb")
    return f"{BUILT}/{path.name}"


def newer(machine):
    """The same package with a higher version. Its program is another file, and so another inode."""
    machine.run("sh", "-euc", f"""
        dpkg-deb --raw-extract {deb(machine)} /root/newer
        sed -i 's/^Version: .*/&+newer/' /root/newer/DEBIAN/control
        dpkg-deb --root-owner-group --build /root/newer /root/echod_newer.deb""")
    return "/root/echod_newer.deb"


def apt(machine, *words):
    return machine.run("apt-get", "--yes", *words, seconds=120)


def files(machine):
    """Every path on the machine's disk but those that others write to."""
    prune = " -o ".join(f"-path {path}" for path in OTHERS)
    return set(machine.run("sh", "-c", f"find / -xdev \\( {prune} \\) -prune -o -print").splitlines())


@pytest.fixture
def bare(machine):
    """A machine without what install-into has installed."""
    machine.run("ninja", "-C", "/usr/src/build", "uninstall")
    machine.run("systemctl", "daemon-reload")
    return machine


@pytest.fixture
def installed(bare):
    apt(bare, "install", deb(bare))
    return bare


def test_lintian_has_nothing_to_say(machine):
    changes, = machine.path(BUILT).glob("*.changes")
    said = machine.run("lintian", "--allow-root", f"{BUILT}/{changes.name}", seconds=120)
    assert said == ""


def test_installed_socket_listens_now_and_from_the_next_boot_on(installed):
    assert installed.show("echo.socket", "ActiveState") == "active"
    assert installed.run("systemctl", "is-enabled", "echo.socket").strip() == "enabled"
    assert installed.processes("echod") == {}  # nothing runs until somebody comes
    call(installed)


def test_its_own_test_passes(bare):
    bare.run("sh", "-c", "rm -f /etc/apt/sources.list /etc/apt/sources.list.d/*")  # there is no network
    report = bare.run("autopkgtest", "--ignore-restrictions=isolation-container", deb(bare), f"{BUILT}/echod",
                      "--", "null", status=None, seconds=120)
    _, _, summary = report.rpartition(" summary\n")
    assert summary.splitlines()[0].split() == ["telnet", "PASS"], report


def test_upgrade_drops_nobody_and_refuses_nobody(installed):
    package = newer(installed)
    installed.run("systemctl", "start", "echo@4321.socket")
    since = installed.show("echo.socket", "ActiveEnterTimestampMonotonic")
    with installed.connect(port=4321) as elsewhere, Knocker(installed) as first, Knocker(installed) as second:
        talk(elsewhere)
        crowd = Talkers(installed, CROWD)
        before = main_pid(installed), installed.show("echo@4321.service", "MainPID")
        apt(installed, "install", package)
        call(installed)
        crowd.go_on()
        talk(elsewhere)
    assert first.failures == second.failures == []
    assert min(first.answered, second.answered) > 20
    assert main_pid(installed) not in (0, before[0])
    assert installed.show("echo@4321.service", "MainPID") not in ("0", before[1])
    assert installed.show("echo.socket", "ActiveEnterTimestampMonotonic") == since
    for pid in (main_pid(installed), int(installed.show("echo@4321.service", "MainPID"))):
        assert installed.run("readlink", f"/proc/{pid}/exe") == "/usr/sbin/echod\n"  # not "(deleted)"
    crowd.leave()
    eventually(lambda: re.fullmatch(r"0 clients, \d+ served, 0 lost", status(installed)), "none is lost")


def test_upgrade_starts_nothing_that_was_not_running(installed):
    apt(installed, "install", newer(installed))
    assert installed.show("echo.service", "ActiveState") == "inactive"
    assert installed.show("echo.socket", "ActiveState") == "active"


@pytest.mark.parametrize("commands", [["remove", "purge"], ["purge"]], ids=" and ".join)
def test_removed_it_leaves_nothing(bare, commands):
    before = files(bare)
    apt(bare, "install", deb(bare))
    bare.run("systemctl", "enable", "--now", "echo@4321.socket")
    clients = [bare.connect(), bare.connect(port=4321)]
    for client in clients:
        talk(client)
        client.sendall(b"and a tail")
    apt(bare, commands[0], "echod")
    for client in clients:
        assert receive_all(client) == b"and a tail"
        client.close()
    eventually(lambda: not bare.processes("echod"), "no process is left")
    for port in (4040, 4321):
        with pytest.raises(ConnectionRefusedError):
            bare.connect(port=port)
    for command in commands[1:]:
        apt(bare, command, "echod")
    assert files(bare) == before
    assert bare.run("systemctl", "list-units", "--all", "--plain", "--no-legend", "echo*") == ""


def test_installed_again_it_listens_again(installed):
    apt(installed, "remove", "echod")
    apt(installed, "install", deb(installed))
    assert installed.run("systemctl", "is-enabled", "echo.socket").strip() == "enabled"
    call(installed)
