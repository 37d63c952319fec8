# SPDX-License-Identifier: MIT
"""The servers that are measured: each is started on a port of its own, in a memory cgroup of its own."""

import array
import contextlib
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
MEMORY, PROCESSOR = (Path("/sys/fs/cgroup", name) for name in ("memory", "cpuacct"))  # cgroup v1
UNIFIED = Path("/sys/fs/cgroup")  # v2
JOURNAL = Path("/run/systemd/journal/socket")
PASSED = 3  # SD_LISTEN_FDS_START


def new_group(kind, name):
    """A new group that counts what it uses, or None where there is no right to make one."""
    top = kind if kind.is_dir() else UNIFIED
    with contextlib.suppress(OSError):
        (top / name).mkdir(exist_ok=True)
        return top / name
    return None


class Sink(threading.Thread):
    """Takes datagrams, as journald and systemd do, and keeps the descriptors that come with them."""

    def __init__(self, address):
        super().__init__(daemon=True)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.kept = []
        self.start()

    def run(self):
        data = True
        while data:  # none: it was shut down
            data, control, _, _ = self.socket.recvmsg(1 << 16, socket.CMSG_SPACE(4))
            for _, _, fds in control:
                self.kept += array.array("i", fds)

    def close(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.join()
        self.socket.close()
        for fd in self.kept:
            os.close(fd)


class Server:
    """Runs a command. One that `listens` opens @PORT@ itself; others are passed their socket, as by systemd."""

    def __init__(self, build, command, listens=False, out=None):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self.port = self.listener.getsockname()[1]
        self.notify = Sink("")
        name = f"echod-bench-{os.getpid()}-{self.port}"
        self.groups = {kind: group for kind in (MEMORY, PROCESSOR) if (group := new_group(kind, name))}
        for file, text in CONFIGURATIONS.items():
            (build / file).write_text(text.replace("@PORT@", str(self.port)))
        words = [word.replace("@PORT@", str(self.port)) for word in command]
        if listens:
            self.listener.close()
        with open(build / "bench.log", "ab") as log:
            self.process = subprocess.Popen(
                ["sh", "-c", 'export LISTEN_PID=$$; exec "$@"', "sh", *words], close_fds=False,
                env={**os.environ, **self._environment(log, listens)},
                preexec_fn=lambda: self._become(listens), start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=out or log, stderr=log)
        self.listener.close()
        try:
            self._await()
        except BaseException:
            self.stop()
            raise

    def _environment(self, log, listens):
        """What systemd gives a service: somebody to notify, and a journal behind stderr."""
        name = os.fstat(log.fileno())
        given = {"NOTIFY_SOCKET": "@" + self.notify.socket.getsockname()[1:].decode()}
        if os.path.ismount(JOURNAL.parent):
            given["JOURNAL_STREAM"] = f"{name.st_dev}:{name.st_ino}"
        if not listens:
            given["LISTEN_FDS"] = "1"
        return given

    def _become(self, listens):
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))  # the unit asks for many
        for group in self.groups.values():
            (group / "cgroup.procs").write_text(str(os.getpid()))
        if not listens:
            passed = os.dup(self.listener.fileno())
            os.dup2(passed, PASSED)
        os.closerange(PASSED + (not listens), 1 << 10)

    def _answers(self, probe):
        return probe.recv(2) == b"x\n"

    def _await(self):
        for _ in range(400):
            # From another address: where nobody listens yet, a socket can happen to connect to itself.
            with contextlib.suppress(OSError), socket.create_connection(
                    ("127.0.0.1", self.port), 1, source_address=("127.0.1.1", 0)) as probe:
                probe.sendall(b"x\n")
                if self._answers(probe):
                    return
            if self.process.poll() is not None:
                break
            time.sleep(0.025)
        raise RuntimeError(f"{self.process.args}: no answer, see bench.log")

    def memory(self):
        """Bytes of the whole group, the kernel's own and TCP's included; None if they are not counted."""
        group = self.groups.get(MEMORY)
        if not group:
            return None
        names = ("memory.current",) if group.parent == UNIFIED else (
            "memory.usage_in_bytes", "memory.kmem.tcp.usage_in_bytes")
        return sum(int((group / name).read_text()) for name in names)

    def processor(self):
        """Seconds that the whole group has run; None if they are not counted."""
        group = self.groups.get(PROCESSOR)
        if not group:
            return None
        if group.parent == UNIFIED:
            return int((group / "cpu.stat").read_text().split()[1]) / 1e6  # usage_usec
        return int((group / "cpuacct.usage").read_text()) / 1e9

    def _pids(self):
        for group in self.groups.values():
            return [int(pid) for pid in (group / "cgroup.procs").read_text().split()]
        return [] if self.process.poll() is not None else [self.process.pid]

    def stop(self):
        """Everything that it has started is in its group, or at least in its session."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        while pids := self._pids():
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(0.01)
        self.process.wait()
        self.notify.close()
        for group in set(self.groups.values()):
            group.rmdir()


def ask_in_turn(question, start, servers, rounds, ask):
    """{server: [what ask(name, server) says of each round]}; one without an answer is left out, and said to be."""
    answers = {name: [] for name in servers}
    with contextlib.ExitStack() as stack:
        running = {}
        for name, how in servers.items():
            running[name] = start(*how)
            stack.callback(running[name].stop)
        for turn in range(rounds):
            for name in list(answers) if turn % 2 == 0 else list(reversed(answers)):
                answer = ask(name, running[name])
                if answer is None:
                    print(f"{name} has no answer to {question}", file=sys.stderr)
                    del answers[name]
                else:
                    answers[name].append(answer)
    return answers


CONFIGURATIONS = {"xinetd.conf": """service echo
{
    type = INTERNAL UNLISTED
    id = echo-stream
    socket_type = stream
    protocol = tcp
    user = root
    bind = 127.0.0.1
    wait = no
    port = @PORT@
    instances = UNLIMITED
    cps = 1000000 1
    per_source = UNLIMITED
    log_on_success =
}
""", "rsyslog.conf": """module(load="imtcp" MaxSessions="11000")
input(type="imtcp" address="127.0.0.1" port="@PORT@" flowControl="on")
template(name="line" type="string" string="%rawmsg%\\n")
main_queue(queue.size="100000" queue.workerThreads="1")
action(type="omfile" file="/dev/stdout" template="line")
"""}


def peers(build, cores):
    """{name: (the program it needs, its arguments, whether it opens its socket itself)}"""
    echod, many = build / "src/echod", "--max-clients=19000"
    return {
        "epoll": (build / "tests/bench/epoll", [], False),
        "hand-over": (build / "tests/bench/hand-over", ["64"], False),
        f"hand-over {cores}": (build / "tests/bench/hand-over", [str(cores)], False),
        "echod": (echod, [many], False),
        f"echod --workers={cores}": (echod, [many, f"--workers={cores}"], False),
        "echod no log": (echod, [many, "--log-level=err"], False),
        "go": (build / "echo-go", [], False),
        "elixir": ("elixir", [HERE / "echo.exs", "@PORT@"], True),
        "tcpserver": ("tcpserver", ["-RHl0", "-c20000", "-b4096", "127.0.0.1", "@PORT@", "cat"], True),
        "xinetd": ("xinetd", ["-dontfork", "-f", build / "xinetd.conf"], True),
        "socat": ("socat", ["TCP-LISTEN:@PORT@,bind=127.0.0.1,fork,reuseaddr,backlog=4096", "EXEC:cat"], True),
        "socket-activate": ("systemd-socket-activate",
                            ["--accept", "--inetd", "--listen=127.0.0.1:@PORT@", "cat"], True),
    }


def receivers(build, cores):
    """The same for servers that write what they receive to stdout."""
    receiverd, options = build / "src/receiverd", ["--sink=stdout", "--max-clients=19000"]
    return {
        "receiverd": (receiverd, options, False),
        f"receiverd --workers={cores}": (receiverd, [*options, f"--workers={cores}"], False),
        "rsyslog": ("rsyslogd", ["-n", "-iNONE", "-f", build / "rsyslog.conf"], True),
        "socket-activate": ("systemd-socket-activate",
                            ["--accept", "--listen=127.0.0.1:@PORT@", "sh", "-c", "exec cat <&3"], True),
        "elixir": ("elixir", [HERE / "receiver.exs", "@PORT@"], True),
    }


def available(build, servers):
    """{name: (command, listens)} of those that are here; says which ones are left out."""
    if "go" in servers and shutil.which("go"):
        subprocess.run(["go", "build", "-o", build / "echo-go", HERE / "echo.go"], check=True,
                       env={**os.environ, "GOCACHE": str(build / "go"), "GO111MODULE": "off"})
    found = {}
    for name, (program, arguments, listens) in servers.items():
        if name == "xinetd" and os.geteuid() != 0:
            print(f"{name}: left out, it needs root")
        elif path := shutil.which(str(program)):
            found[name] = [path, *map(str, arguments)], listens
        else:
            print(f"{name}: left out, {Path(program).name} is not installed")
    return found
