# SPDX-License-Identifier: MIT
"""Plays systemd for one service: owns its socket and its descriptor store, starts it, hears and ends it."""

import array
import contextlib
import fcntl
import os
import select
import signal
import socket
import threading
import time
from pathlib import Path

TREE = Path(__file__).resolve().parents[2]
PROGRAM = os.environ.get("ECHOD", str(TREE / "build/gcc/src/echod"))
FIRST_PASSED = 3
OUT_OF_THE_WAY = 200  # our copies of what is passed: above the numbers that a child gets it at
TICKS = os.sysconf("SC_CLK_TCK")


def eventually(probe, what, seconds=5.0):
    """The first true answer of probe, for what no descriptor tells."""
    deadline = time.monotonic() + seconds
    while not (answer := probe()):
        assert time.monotonic() < deadline, f"no {what} within {seconds:.1f} s"
        time.sleep(0.005)
    return answer


def cpu_seconds(pid):
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return (int(fields[11]) + int(fields[12])) / TICKS


def state(pid):
    """As in proc(5); of one that has been waited for, X."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "X"


def is_running(pid):
    return state(pid) not in "ZX"


def await_exit(pid, seconds):
    """Returns whether the process ends within that time."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    ended = _ends(pidfd, seconds)
    os.close(pidfd)
    return ended


def _ends(pidfd, seconds):
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(max(0, seconds) * 1000))


def _high(fd):
    return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, OUT_OF_THE_WAY)


class Manager:
    numbers = iter(range(1 << 30))
    program = None  # PROGRAM, unless a subclass says another one

    def __init__(self, *options, keeps=True, runner=(), environment=(), logs_to_journal=False, listener=None,
                 stdout=None):
        self.options, self.runner = options, runner
        self.stdout = None if stdout is None else _high(stdout)
        self.listener = listener or socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.listener.setblocking(False)
        self.address = self.listener.getsockname()
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) if keeps else None
        if keeps:
            self.notify.setblocking(False)
            self.notify.bind(f"\0echod-faults-{os.getpid()}-{next(self.numbers)}")
        self.store = {}  # name: descriptor
        self.pid = 0
        self.began = 0.0
        self.started = {}  # {pid: pidfd} of all that must be gone in the end; a number may be used again
        self.lines = []  # (when, text) of its stderr
        self.ready = self.status = None  # when READY=1 came; the text of STATUS=
        self.stopping = False
        self.changed = threading.Condition()
        self._passed_listener = _high(self.listener.fileno())
        self._err, writable = os.pipe2(os.O_CLOEXEC)
        self._passed_err = _high(writable)
        os.close(writable)
        status = os.fstat(self._err)
        journal = f"{status.st_dev}:{status.st_ino}" if logs_to_journal else "0:0"
        self.environment = {"JOURNAL_STREAM": journal, **dict(environment)}
        self._end, self._ending = os.pipe2(os.O_CLOEXEC)
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def start(self, *tracer):
        """Starts the acceptor with all that is in the store, under a tracer that keeps its pid."""
        with self.changed:
            self.ready, self.status, self.stopping, self.began = None, None, False, time.monotonic()
            passed = [("socket", self._passed_listener), *self.store.items()]
            actions = [(os.POSIX_SPAWN_DUP2, fd, FIRST_PASSED + i) for i, (_, fd) in enumerate(passed)]
            actions += [(os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_RDWR, 0),
                        (os.POSIX_SPAWN_DUP2, 1, 0), (os.POSIX_SPAWN_DUP2, self._passed_err, 2)]
            if self.stdout is not None:
                actions.append((os.POSIX_SPAWN_DUP2, self.stdout, 1))
            environment = {"PATH": os.environ["PATH"], "LISTEN_FDS": str(len(passed)),
                           "LISTEN_FDNAMES": ":".join(name for name, _ in passed),
                           **self.environment}
            if self.notify:
                environment["NOTIFY_SOCKET"] = self.notify.getsockname().decode().replace("\0", "@")
            self.pid = os.posix_spawn(
                "/bin/sh", ["sh", "-c", 'export LISTEN_PID=$$ WATCHDOG_PID=$$; exec "$@"', "sh",
                            *self.runner, *tracer, self.program or PROGRAM, *self.options],
                environment, file_actions=actions)
            self._note(self.pid)
        return self.pid

    def serve(self):
        """Starts it and returns when it is ready, or, if it cannot tell, accepts."""
        self.start()
        assert self.await_ready(5), f"not ready:\n{self.text()}"
        return self.pid

    def await_ready(self, seconds):
        """Returns whether it becomes ready, before it ends and within that time."""
        if not self.notify:
            return self.await_line("Accepting connections", seconds)
        deadline = time.monotonic() + seconds
        with self.changed:
            while not self.ready and is_running(self.pid) and time.monotonic() < deadline:
                self.changed.wait(0.01)
            return bool(self.ready)

    def await_line(self, text, seconds, since=0.0):
        with self.changed:
            return self.changed.wait_for(
                lambda: any(text in line for when, line in self.lines if when >= since), seconds)

    def await_status(self, beginning, seconds):
        """Returns whether STATUS says so within that time."""
        with self.changed:
            return self.changed.wait_for(lambda: self.status and self.status.startswith(beginning), seconds)

    def text(self, since=0.0):
        return "\n".join(line for when, line in self.lines if when >= since)

    def told(self, since, until):
        """The lines that are not about a single client."""
        return [line for when, line in self.lines if since <= when <= until and "echod: Client " not in line]

    def children(self):
        """Of the running acceptor: its workers, and what it has not waited for."""
        if self.pid not in self.started:
            return []
        try:
            return list(map(int, Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()))
        except OSError:
            return []

    def workers(self):
        running = [pid for pid in self.children() if is_running(pid)]
        self._note(*running)
        return running

    def end(self, seconds=1.0):
        """How the acceptor ended: its status, or the negative number of a signal; None: it still runs."""
        return self._reap(self.pid) if _ends(self.started[self.pid], seconds) else None

    def kill(self, number=signal.SIGKILL):
        """Ends the acceptor. The store stays."""
        if self.pid in self.started:
            self.workers()
            signal.pidfd_send_signal(self.started[self.pid], number)
            self.end(5)
        while self.notify and self._hear():
            pass  # what it had said belongs to its life, not to the next one's

    def empty_store(self):
        """As systemd does when the service is stopped: every worker drains and leaves."""
        with self.changed:
            for name in list(self.store):
                self._drop(name)

    def stop(self):
        """Ends everything, and returns when every process is gone."""
        self.kill()
        self.empty_store()
        for pid, pidfd in list(self.started.items()):
            if not _ends(pidfd, 3):
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            self._reap(pid)
        os.close(self._ending)
        self._thread.join()
        self.listener.close()
        if self.notify:
            self.notify.close()
        for fd in (self._passed_listener, self._err, self._passed_err, self._end, self.stdout):
            if fd is not None:
                os.close(fd)

    def _note(self, *pids):
        """Opens those that are new, closes those that are gone. The end of the acceptor is left to end()."""
        with self.changed:
            for pid, pidfd in list(self.started.items()):
                try:
                    if pid != self.pid:
                        with contextlib.suppress(ChildProcessError):
                            os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG)
                    signal.pidfd_send_signal(pidfd, 0)
                except ProcessLookupError:
                    os.close(self.started.pop(pid))
            for pid in pids:
                if pid not in self.started:
                    with contextlib.suppress(ProcessLookupError):
                        self.started[pid] = os.pidfd_open(pid)

    def _reap(self, pid):
        """The status of one that ends, if it is our child, or the negative number of a signal."""
        with self.changed:
            pidfd = self.started.pop(pid)
        try:
            ended = os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
            return ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status
        except ChildProcessError:
            return None
        finally:
            os.close(pidfd)

    def _listen(self):
        self._epoll = select.epoll()
        for fd in (self._err, self._end, *([self.notify.fileno()] if self.notify else [])):
            self._epoll.register(fd, select.EPOLLIN)
        rest = b""
        while True:
            ready = [fd for fd, _ in self._epoll.poll()]
            if self._end in ready and self._err not in ready:  # all has been read
                self._epoll.close()
                return
            for fd in ready:
                if fd == self._err:
                    *lines, rest = (rest + os.read(fd, 1 << 16)).split(b"\n")
                    with self.changed:
                        self.lines += [(time.monotonic(), line.decode(errors="replace")) for line in lines]
                        self.changed.notify_all()
                elif self.notify and fd == self.notify.fileno():
                    self._hear()
                elif fd != self._end:
                    self._forget(fd)

    def _hear(self):
        """Reads one message, if there is one."""
        with self.changed:
            try:
                data, control, _, _ = self.notify.recvmsg(4096, socket.CMSG_SPACE(4), socket.MSG_CMSG_CLOEXEC)
            except BlockingIOError:
                return False
            words = dict(line.split("=", 1) for line in data.decode().splitlines())
            came = array.array("i", b"".join(part for _, _, part in control))
            if "FDSTOREREMOVE" in words:
                self._drop(words["FDNAME"])
            for fd in came:
                if "FDSTORE" in words:
                    self._keep(words["FDNAME"], fd)
                os.close(fd)
            self.ready = time.monotonic() if "READY" in words else self.ready
            self.status = words.get("STATUS", self.status)
            self.stopping |= "STOPPING" in words
            self.changed.notify_all()
            return True

    def _keep(self, name, fd):
        kept = _high(fd)
        self.store[name] = kept
        if name.startswith(("worker-", "sink-")):
            self._note(int(name.partition("-")[2]))
        with contextlib.suppress(PermissionError):  # a memfd cannot hang up
            self._epoll.register(kept, 0)

    def _forget(self, fd):
        """Its other end has hung up."""
        with self.changed:
            for name in [name for name, kept in self.store.items() if kept == fd]:
                self._drop(name)

    def _drop(self, name):
        fd = self.store.pop(name, None)
        if fd is not None:
            with contextlib.suppress(OSError):  # a memfd was never registered
                self._epoll.unregister(fd)
            os.close(fd)
