# SPDX-License-Identifier: MIT
"""What is done to one worker concerns its own client, and nobody else."""

import socket

import pytest

from machine import eventually
from service import WORKER_LOST, call, left, main_pid, name, receive_all, records, status, talk, worker_of


def test_killed_worker_takes_its_client_along_and_nobody_else(echo):
    with echo.connect() as victim, echo.connect() as other:
        talk(victim)
        talk(other)
        worker = worker_of(echo, victim)
        echo.kill(worker, "KILL")
        assert receive_all(victim) == b""
        talk(other)
        assert left(echo, name(victim))["REASON"] == "lost"
        record, = records(echo, WORKER_LOST)
        assert record["MESSAGE"].startswith(f"Worker {worker} lost")
        assert "KILL" in record["MESSAGE"].upper()
        eventually(lambda: status(echo) == "1 clients, 2 served, 1 lost", "the status counts it")
    call(echo)


def test_sigterm_drains_a_worker(echo):
    with echo.connect() as retired, echo.connect() as other:
        talk(retired)
        talk(other)
        retired.sendall(b"and a tail")
        worker = worker_of(echo, retired)
        echo.kill(worker, "TERM")
        assert receive_all(retired) == b"and a tail"
        retired.shutdown(socket.SHUT_WR)
        assert left(echo, name(retired))["REASON"] == "drain"
        eventually(lambda: worker not in echo.processes("echod"), "the worker has gone")
        talk(other)
        assert records(echo, WORKER_LOST) == []


@pytest.mark.parametrize("signal_name", ["INT", "HUP"])
def test_signals_of_a_terminal_do_not_reach_workers(echo, signal_name):
    with echo.connect() as client:
        talk(client)
        worker = worker_of(echo, client)
        echo.kill(worker, signal_name)
        talk(client)
        assert worker_of(echo, client) == worker


def test_kernel_short_of_memory_takes_a_worker_before_the_acceptor(echo):
    def preference(pid):
        return int(echo.run("cat", f"/proc/{pid}/oom_score_adj"))

    with echo.connect() as client:
        talk(client)
        assert preference(worker_of(echo, client)) > preference(main_pid(echo))
