# SPDX-License-Identifier: MIT
"""packaging/run as its user meets it: at a terminal, in a network namespace of the tests' own."""

import contextlib
import ctypes
import os
import pty
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

TREE = Path(__file__).resolve().parents[2]
LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000
PR_SET_CHILD_SUBREAPER = 36
BUILD_SECONDS = 120
NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]


@pytest.fixture(scope="module", autouse=True)
def own_network():
    if LIBC.unshare(CLONE_NEWNET) != 0:
        pytest.skip(f"no network namespace: {os.strerror(ctypes.get_errno())}")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def stop(*_):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # timeout(1) passes on what has reached all of its group
    raise KeyboardInterrupt  # so that fixtures are torn down


@pytest.fixture(autouse=True)
def orphans_come_here_and_go():
    signal.signal(signal.SIGTERM, stop)
    assert LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    yield
    while left := children(os.getpid()):
        for pid in left:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def children(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.fixture
def copy():
    """A copy of the tree that everybody may read, and only root may write."""
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        shutil.copytree(TREE, directory, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".git", "build"))
        yield Path(directory)


@pytest.fixture
def path_without(tmp_path_factory):
    """Makes a PATH that lacks some programs."""
    def make(*programs):
        directory = tmp_path_factory.mktemp("path")
        for path in map(Path, ("/usr/sbin", "/usr/bin", "/sbin", "/bin")):
            for program in path.iterdir():
                if program.name not in programs and not (directory / program.name).is_symlink():
                    (directory / program.name).symlink_to(program)
        for parent in directory.parents:
            if parent.owner() == "root" and parent.name.startswith("pytest-"):
                parent.chmod(0o755)
        directory.chmod(0o755)
        return directory
    return make


def run(tree=TREE, by=(), **environment):
    return subprocess.run([*by, "packaging/run"], cwd=tree, env={**os.environ, **environment}, timeout=BUILD_SECONDS,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def assert_fails(done, *expected):
    """One line on stderr that says why, after whatever has been said on stdout."""
    assert done.returncode != 0
    assert done.stderr.count("\n") == 1, done.stderr
    for text in expected:
        assert text in done.stderr


class Terminal:
    """packaging/run at a terminal of its own."""

    def __init__(self, port, **environment):
        self.text = ""
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            os.chdir(TREE)
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # a job in the background has it ignored
            os.execve("packaging/run", ["packaging/run"], {**os.environ, "PORT": str(port), **environment})

    def expect(self, text, seconds=10):
        deadline = time.monotonic() + seconds
        while text not in self.text:
            readable, _, _ = select.select([self._fd], [], [], max(0, deadline - time.monotonic()))
            assert readable, f"no {text!r} within {seconds} s, but:\n{self.text}"
            try:
                self.text += os.read(self._fd, 4096).decode()
            except OSError:  # EIO: nobody has the terminal open any more
                raise AssertionError(f"no {text!r}, but:\n{self.text}") from None

    def press_ctrl_c(self):
        os.write(self._fd, b"\x03")

    def finish(self, seconds=5):
        """The status it ends with. Nobody who came from it is left then."""
        def too_late(*_):
            raise AssertionError(f"processes left after {seconds} s:\n{self.text}")

        statuses = {}
        signal.signal(signal.SIGALRM, too_late)
        signal.alarm(seconds)
        try:
            while True:
                pid, status = os.waitpid(-1, 0)
                statuses[pid] = os.waitstatus_to_exitcode(status)
        except ChildProcessError:
            return statuses[self.pid]
        finally:
            signal.alarm(0)
            with contextlib.suppress(OSError):
                self.text += os.read(self._fd, 65536).decode()
            os.close(self._fd)


def serve(port=4040, **environment):
    terminal = Terminal(port, **environment)
    terminal.expect("Ctrl-C", BUILD_SECONDS)
    assert f"telnet 127.0.0.1 {port}" in terminal.text
    return terminal


def connect(port=4040, host="127.0.0.1"):
    client = socket.create_connection((host, port), timeout=10)
    client.sendall(b"Anybody there?\n")
    assert client.recv(100) == b"Anybody there?\n"
    return client


@pytest.mark.parametrize("port", ["", "0", "65536", "100000", "abc", "08", "-1", "0x10", "4040 ", "4040\n"])
def test_malformed_port_is_refused(port):
    assert_fails(run(PORT=port), "PORT", "1 to 65535")


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "::"])
def test_port_in_use_is_refused_before_anything_is_built(copy, host):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 4040), family=family):
        assert_fails(run(copy), "port 4040 is in use")
    assert not (copy / "build").exists()


def test_port_taken_after_the_first_look_is_refused():
    # Bound but not listening: the kernel's tables do not show it.
    with socket.socket() as other:
        other.bind(("127.0.0.1", 4040))
        assert_fails(run(), "port 4040", "in use")


def test_privileged_port_needs_root(copy):
    assert_fails(run(copy, NOBODY, PORT="80"), "port 80 needs root", "sudo PORT=80 packaging/run")


def test_directory_that_may_not_be_written_is_named(copy):
    assert_fails(run(copy, NOBODY), f"{copy}/build")


def test_missing_packages_are_named_without_root_and_sudo(copy, path_without):
    programs = path_without("sudo", "dpkg-query")
    (programs / "dpkg-query").write_text("#!/bin/sh\nexit 1\n")
    (programs / "dpkg-query").chmod(0o755)
    assert_fails(run(copy, NOBODY, PATH=str(programs)), "neither root nor sudo", "libsystemd-dev", "meson")


APT = """#!/bin/sh
echo "$*" >>calls
[ "$(wc -l <calls)" -gt 1 ] && exit
echo "E: Could not get lock /var/lib/apt/lists/lock. It is held by process 1234 (apt-get)" >&2
exit 100
"""


def test_another_apt_at_work_is_waited_for(copy, path_without):
    programs = path_without("apt-get", "dpkg-query")
    for name, text in {"apt-get": APT, "dpkg-query": "#!/bin/sh\nexit 1\n"}.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    subprocess.run(["packaging/install-packages"], cwd=copy, env={"PATH": str(programs)}, check=True, timeout=60)
    commands = [line.split()[3] for line in (copy / "calls").read_text().splitlines()]
    assert commands == ["update", "update", "install"]


def test_elsewhere_than_on_debian_packages_are_named(copy, path_without):
    assert_fails(run(copy, PATH=str(path_without("apt-get"))), "not a Debian system", "libsystemd-dev", "meson")


def test_failed_build_shows_why(copy):
    with (copy / "src/echo/main.c").open("a") as source:
        source.write("#error spilled coffee\n")
    done = run(copy)
    assert done.returncode != 0
    assert "spilled coffee" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("packaging/run: the build failed")


def test_serves_ipv4_and_ipv6_and_shows_the_log():
    terminal = serve(4321)
    with connect(4321), connect(4321, "::1") as client:
        port = client.getsockname()[1]
        terminal.expect(f"[::1]:{port}")
    terminal.press_ctrl_c()
    assert terminal.finish() == 0, terminal.text


def test_receiver_shows_the_lines_that_it_receives():
    terminal = serve(4322, SERVICE="receiver")
    with socket.create_connection(("127.0.0.1", 4322), timeout=10) as client:
        client.sendall(b"truck-7 52.3676 4.9041\nand a tail")
        terminal.expect("\ntruck-7 52.3676 4.9041\r\n")
        terminal.press_ctrl_c()
        assert client.recv(1) == b""
    terminal.expect("\nand a tail\r\n")
    assert terminal.finish() == 0, terminal.text


def test_unknown_service_is_refused():
    assert_fails(run(SERVICE="daytime"), "SERVICE", "echo or receiver")


def test_serves_where_ipv6_is_off():
    switch = Path("/proc/sys/net/ipv6/conf/all/disable_ipv6")
    switch.write_text("1")
    try:
        terminal = serve()
        connect().close()
        terminal.press_ctrl_c()
        assert terminal.finish() == 0, terminal.text
    finally:
        switch.write_text("0")


def test_serves_ipv4_where_ipv6_sockets_are_for_ipv6_alone():
    switch = Path("/proc/sys/net/ipv6/bindv6only")
    switch.write_text("1")
    try:
        terminal = serve()
        with connect(), connect(host="::1"):
            terminal.press_ctrl_c()
        assert terminal.finish() == 0, terminal.text
    finally:
        switch.write_text("0")


def test_ctrl_c_before_the_first_client_leaves_nothing():
    terminal = serve()
    terminal.press_ctrl_c()
    assert terminal.finish() == 0, terminal.text
    terminal = serve()  # the port is free again
    terminal.press_ctrl_c()
    assert terminal.finish() == 0, terminal.text


def test_ctrl_c_answers_and_parts_from_clients():
    terminal = serve()
    with connect() as client, connect():
        client.sendall(b"and a tail")
        terminal.press_ctrl_c()
        assert client.recv(100) == b"and a tail"
        assert client.recv(100) == b""
    assert terminal.finish() == 0, terminal.text


def test_second_ctrl_c_kills_what_waits_for_a_client():
    terminal = serve()
    with connect() as client:
        terminal.press_ctrl_c()
        assert client.recv(100) == b""  # and does not close in turn
        terminal.press_ctrl_c()
        assert terminal.finish() == 0, terminal.text


def test_sigterm_stops_it_too():
    terminal = serve()
    with connect():
        os.kill(terminal.pid, signal.SIGTERM)
    assert terminal.finish() == 0, terminal.text


def test_crash_is_reported():
    terminal = serve()
    with connect():
        terminal.expect("Accepting connections")
        server, = [pid for pid in children(terminal.pid) if Path(f"/proc/{pid}/comm").read_text() == "echod\n"]
        os.kill(server, signal.SIGKILL)
    terminal.expect("echod has ended by itself")
    assert terminal.finish() != 0
