# SPDX-License-Identifier: MIT
"""System calls made to fail, by strace."""

import contextlib
import os
import re
import select
import signal
import subprocess
import threading
from pathlib import Path

import pytest

ATTACH_SECONDS = 5
CAP_SYS_PTRACE = 19
# strace makes fail what cannot: a close() that fails does close, and strace leaves the descriptor open;
# EPOLL_CTL_DEL cannot fail where ADD and MOD can, and libsystemd aborts; a child that is there cannot give ECHILD.
# After that the end of a worker may go unseen for good.
UNREAL = re.compile(r"(close\(|EPOLL_CTL_DEL|waitid\(.* ECHILD).*\(INJECTED\)")


def require_tracing():
    """Of processes that are not one's own children: ptrace(2)."""
    yama = Path("/proc/sys/kernel/yama/ptrace_scope")
    capabilities = re.search(r"^CapEff:\s*(\w+)", Path("/proc/self/status").read_text(), re.MULTILINE)[1]
    if yama.exists() and int(yama.read_text()) > 0 and not int(capabilities, 16) >> CAP_SYS_PTRACE & 1:
        pytest.skip("no right to trace: kernel.yama.ptrace_scope")


def options(fault):
    """strace's, for what has a call, an errno and, as in strace(1), a when: "1", "2", "3+"."""
    return ["-e", "signal=none", "-e", f"trace={fault.call}",
            "-e", f"inject={fault.call}:error={fault.errno}:when={fault.when}"]


class Injection:
    """Calls of a running process fail while the with block lasts; with follow, of its new children too."""

    def __init__(self, pid, fault, follow=False):
        require_tracing()
        self.count, self.unreal = 0, False
        self._process = subprocess.Popen(
            ["strace", *(["-f"] if follow else []), "-p", str(pid), *options(fault)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self._changed = threading.Condition()
        self._attached = self._ended = False
        self._text = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        with self._changed:
            self._changed.wait_for(lambda: self._attached or self._ended, ATTACH_SECONDS)
        if not self._attached:
            self.end()
            raise AssertionError(f"strace cannot attach to {pid}: {''.join(self._text)}")

    def _read(self):
        for line in self._process.stderr:
            with self._changed:
                if len(self._text) < 50:
                    self._text.append(line)
                self._attached |= "attached" in line
                self.count += "(INJECTED)" in line
                self.unreal |= UNREAL.search(line) is not None
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def await_count(self, count, seconds):
        with self._changed:
            return self._changed.wait_for(lambda: self.count >= count or self._ended, max(0, seconds))

    def end(self):
        """Lets go of the process, and returns when it is free."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(ATTACH_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        self._process.stderr.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()


def tracer_of(pid):
    with contextlib.suppress(OSError):
        found = re.search(r"^TracerPid:\s+(\d+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
        return int(found[1]) if found else 0
    return 0


def let_go(pid):
    """Ends the tracer that a process was started under, and returns when the process is free."""
    tracer = tracer_of(pid)
    if tracer:
        pidfd = os.pidfd_open(tracer)
        signal.pidfd_send_signal(pidfd, signal.SIGINT)
        ended, _, _ = select.select([pidfd], [], [], ATTACH_SECONDS)
        os.close(pidfd)
        assert ended, f"strace does not let go of {pid}"
