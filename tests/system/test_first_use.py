# SPDX-License-Identifier: MIT
"""What somebody sees who has installed it and tries it out."""

import os
import pty
import re
import select
import socket
import time

import pytest

from machine import eventually
from service import (CONNECTED, LEFT, LISTENING, call, left, main_pid, records, status, talk, worker_of)

SERVICES = ["echo.service", "echo@4321.service", "receiver.service", "receiver@4321.service"]
UNITS = [*SERVICES, *(unit.replace(".service", ".socket") for unit in SERVICES)]


def read_until(terminal, end, seconds=15):
    """What appears on a terminal, up to and including end."""
    text, deadline = b"", time.monotonic() + seconds
    while not text.endswith(end):
        ready, _, _ = select.select([terminal], [], [], max(0, deadline - time.monotonic()))
        assert ready, f"not within {seconds} s: {end}, but {text}"
        text += os.read(terminal, 1000)
    return text


def test_telnet_types_lines_and_sees_them(echo):
    terminal, line = pty.openpty()
    telnet = echo.start("telnet", "127.0.0.1", "4040", stdin=line, stdout=line, stderr=line)
    read_until(terminal, b"Escape character is '^]'.\r\n")
    for typed in (b"Hello, is anybody there?", b"Anybody at all?"):
        os.write(terminal, typed + b"\n")
        shown = read_until(terminal, typed + b"\r\n" + typed + b"\r\n")  # as typed, and as it came back
        assert shown == typed + b"\r\n" + typed + b"\r\n"
    os.write(terminal, b"\x1d")
    read_until(terminal, b"telnet> ")
    os.write(terminal, b"quit\n")
    read_until(terminal, b"Connection closed.\r\n")
    assert telnet.wait(10) == 0
    os.close(terminal)
    os.close(line)

    record = eventually(lambda: records(echo, LEFT), "a record of the session")[0]
    assert (record["REASON"], record["LINES"]) == ("eof", "2")
    both_with_cr = len(b"Hello, is anybody there?\r\nAnybody at all?\r\n")
    assert (record["BYTES_RECEIVED"], record["BYTES_SENT"]) == (str(both_with_cr), str(both_with_cr))


@pytest.mark.parametrize("host, template", [("127.0.0.1", "127.0.0.1:{}"), ("::1", "[::1]:{}")])
def test_journal_tells_who_came_and_went(echo, host, template):
    began = time.monotonic()
    with echo.connect(host=host) as client:
        talk(client, b"one\ntwo\n\n\x00\xff\r\n")
        time.sleep(0.2)  # so long has the client been there, at least
        client.sendall(b"and a tail")
        port = client.getsockname()[1]
    record = left(echo, template.format(port))
    ended = time.monotonic()

    assert record["LINES"] == "4"
    assert record["BYTES_RECEIVED"] == record["BYTES_SENT"] == str(len(b"one\ntwo\n\n\x00\xff\r\nand a tail"))
    assert record["REASON"] == "eof"
    assert 0.2 <= int(record["DURATION_USEC"]) / 1e6 <= ended - began
    assert record["MESSAGE"].startswith(f"Client {record['PEER']} left: eof")
    assert record["SYSLOG_IDENTIFIER"] == "echod"
    assert int(record["PRIORITY"]) == 6  # a client that leaves is no error

    came, = records(echo, CONNECTED)
    assert came["MESSAGE"] == f"Client {record['PEER']} connected"
    assert (came["PEER"], came["SESSION"]) == (record["PEER"], record["SESSION"])
    listening, = records(echo, LISTENING)
    assert listening["MESSAGE"] == "Accepting connections on port 4040"


def test_status_counts_clients(echo):
    for _ in range(2):
        call(echo)
    with echo.connect() as first, echo.connect() as second, echo.connect() as third:
        for client in (first, second, third):
            talk(client)
        eventually(lambda: status(echo) == "3 clients, 5 served, 0 lost", "the status counts them")
    eventually(lambda: status(echo) == "0 clients, 5 served, 0 lost", "the status counts them off")


def test_every_client_has_a_process_of_its_own(echo):
    clients = [echo.connect() for _ in range(10)]
    for client in clients:
        talk(client)
    serving = {worker_of(echo, client) for client in clients}
    assert len(serving) == 10
    assert {echo.processes("echod")[pid] for pid in serving} == {main_pid(echo)}


def test_verify_finds_nothing_to_say(machine):
    assert machine.run("systemd-analyze", "verify", "--man=no", *UNITS) == ""


@pytest.mark.parametrize("unit", SERVICES)
def test_security_is_two_tenths_or_better(machine, unit):
    verdict = machine.run("systemd-analyze", "security", "--no-pager", unit).splitlines()[-1]
    exposure = re.search(rf"Overall exposure level for {re.escape(unit)}: (\d+\.\d+)", verdict)
    assert float(exposure[1]) <= 0.2


def test_sandbox_holds_acceptor_and_workers(echo):
    with echo.connect() as client:
        talk(client)
        for pid in (main_pid(echo), worker_of(echo, client)):
            lines = echo.path(f"/proc/{pid}/status").read_text().splitlines()
            fields = dict(line.split(":\t") for line in lines if ":\t" in line)
            assert fields["Seccomp"] == "2"
            assert fields["NoNewPrivs"] == "1"
            assert int(fields["CapBnd"], 16) == int(fields["CapEff"], 16) == 0
            assert "0" not in fields["Uid"].split()


def test_no_limit_can_keep_the_service_down(echo):
    call(echo)
    limits = echo.path(f"/proc/{main_pid(echo)}/limits").read_text()
    soft = int(re.search(r"Max open files +(\d+)", limits)[1])
    # With as many in the store as the limit, no start would succeed: 202/FDS.
    assert soft >= int(echo.show("echo.service", "FileDescriptorStoreMax")) + 64
    assert echo.show("echo.service", "OOMPolicy") == "continue"
    assert echo.show("echo.service", "RestartUSec") == "200ms"


def test_socket_is_set_up_for_many_clients_and_may_be_restarted_often(echo):
    for setting, value in {"KeepAlive": "yes", "NoDelay": "yes", "Backlog": "4096", "BindIPv6Only": "both",
                           "StartLimitIntervalUSec": "0"}.items():
        assert echo.show("echo.socket", setting) == value


def connects(machine, source):
    with machine.network():
        try:
            with socket.create_connection(("127.0.0.1", 4040), timeout=2, source_address=(source, 0)) as client:
                talk(client)
                return True
        except TimeoutError:
            return False


def test_socket_unit_says_which_addresses_may_connect(echo):
    """Where the kernel lets systemd filter: in a container it may not, and then systemd filters for nobody."""
    nobody = ["systemd-run", "--quiet", "--wait", "--property=IPAddressDeny=any"]
    filters = "no" in echo.run("sh", "-c", f"{' '.join(nobody)} bash -c '</dev/tcp/127.0.0.1/4040' || echo no",
                               seconds=200)
    echo.run("systemctl", "set-property", "echo.socket", "IPAddressDeny=any", "IPAddressAllow=127.0.0.2")
    assert echo.show("echo.socket", "IPAddressAllow") == "127.0.0.2/32"
    assert connects(echo, "127.0.0.2")
    assert connects(echo, "127.0.0.1") != filters


def test_enable_now_serves_at_once_and_from_the_next_boot_on(machine):
    machine.run("systemctl", "enable", "--now", "echo.socket")
    assert machine.run("systemctl", "is-enabled", "echo.socket").strip() == "enabled"
    assert machine.processes("echod") == {}  # nothing runs until somebody comes
    call(machine)
    machine.run("systemctl", "stop", "echo.socket")
    machine.run("systemctl", "start", "sockets.target")  # as a boot does
    call(machine)


def test_instance_name_is_the_port(machine):
    machine.run("systemctl", "start", "echo@4321.socket", "echo.socket")
    for host in ("127.0.0.1", "::1"):
        call(machine, port=4321, host=host)
    listening, = records(machine, LISTENING, unit="echo@4321.service")
    assert listening["MESSAGE"] == "Accepting connections on port 4321"
    assert machine.show("echo.service", "ActiveState") == "inactive"  # each port has a service of its own

    machine.run("systemctl", "stop", "echo@4321.socket")
    with pytest.raises(ConnectionRefusedError):
        machine.connect(port=4321)
    call(machine)
