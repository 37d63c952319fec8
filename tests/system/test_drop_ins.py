# SPDX-License-Identifier: MIT
"""The drop-ins that are installed as examples, each copied to where it takes effect, and tried."""

import re
import socket
from pathlib import Path

import pytest

from machine import eventually
from service import LIMIT, LINE, call, left, main_pid, name, receive_all, records, status, talk, worker_of
from talkers import Talkers

EXAMPLES = "/usr/share/doc/echod/examples"
TREE = Path(__file__).resolve().parents[2]
DROP_INS = sorted(path.relative_to(TREE / "units/drop-ins") for path in TREE.glob("units/drop-ins/*/*.conf"))
RESTART_STEPS = "echo.service.d/restart-steps.conf"


def has_restart_steps(machine):
    return int(re.match(r"systemd (\d+)", machine.run("systemctl", "--version"))[1]) >= 254


def use(machine, drop_in):
    """Returns the name of the service: its units are NAME.socket and NAME.service."""
    service = str(drop_in).partition(".")[0]
    machine.run("install", "-D", "-m", "644", "-t", f"/etc/systemd/system/{Path(drop_in).parent}",
                f"{EXAMPLES}/{drop_in}")
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "start", f"{service}.socket")
    return service


@pytest.mark.parametrize("drop_in", DROP_INS, ids=str)
def test_verify_finds_nothing_to_say(machine, drop_in):
    service = use(machine, drop_in)
    said = machine.run("systemd-analyze", "verify", "--man=no", f"{service}.socket", f"{service}.service")
    if str(drop_in) != RESTART_STEPS or has_restart_steps(machine):
        assert said == ""
    else:
        assert "Unknown key" in said
    if service == "echo" and drop_in.name not in ("port.conf", "unix.conf"):
        call(machine)


def test_loopback_listens_to_this_machine_only(machine):
    machine.run("ip", "address", "add", "192.0.2.1/32", "dev", "lo")
    machine.run("systemctl", "start", "echo.socket")
    call(machine, host="192.0.2.1")
    machine.run("systemctl", "stop", "echo.socket")

    use(machine, "echo.socket.d/loopback.conf")
    for host in ("127.0.0.1", "::1"):
        call(machine, host=host)
    with pytest.raises(ConnectionRefusedError):
        machine.connect(host="192.0.2.1")


def test_port_is_another(machine):
    use(machine, "echo.socket.d/port.conf")
    call(machine, port=4321)
    with pytest.raises(ConnectionRefusedError):
        machine.connect()


def test_unix_socket_serves_everybody_here_and_goes_with_its_unit(machine):
    use(machine, "echo.socket.d/unix.conf")
    path = machine.path("/run/echo.sock")
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(path))
        talk(client)
    assert path.stat().st_mode & 0o777 == 0o666
    with pytest.raises(ConnectionRefusedError):
        machine.connect()
    assert not [record for record in machine.journal("echo.socket") if int(record["PRIORITY"]) <= 4]
    machine.run("systemctl", "stop", "echo.socket")
    assert not path.exists()


def test_public_refuses_the_21st_client_of_a_source(machine):
    use(machine, "echo.service.d/public.conf")
    clients = [machine.connect() for _ in range(20)]
    for client in clients:
        talk(client)
    with machine.connect() as excess:
        assert receive_all(excess) == b""
    eventually(lambda: status(machine) == "20 clients, 20 served, 0 lost, 1 refused", "it is counted")
    for client in clients:
        talk(client)
        client.close()


def test_isolation_gives_each_of_many_clients_a_process(machine):
    use(machine, "echo.service.d/isolation.conf")
    crowd = Talkers(machine, 100)
    assert len(machine.processes("echod")) > 1 + 100
    with machine.connect() as client:
        talk(client)
        machine.kill(worker_of(machine, client), "KILL")
        assert left(machine, name(client))["REASON"] == "lost"
    crowd.go_on()
    crowd.leave()
    eventually(lambda: status(machine) == "0 clients, 101 served, 1 lost", "one is lost, and nobody else")


def test_many_clients_share_64_processes(machine):
    use(machine, "echo.service.d/many-clients.conf")
    crowd = Talkers(machine, 300)
    acceptor = main_pid(machine)
    assert list(machine.processes("echod").values()).count(acceptor) == 64
    eventually(lambda: status(machine) == "300 clients, 300 served, 0 lost", "all are served")
    crowd.leave()
    assert records(machine, LIMIT) == []  # no limit of open files lowers it


def test_restarts_become_slower(machine):
    use(machine, RESTART_STEPS)
    if not has_restart_steps(machine):
        call(machine)  # it is ignored
        return
    machine.drop_in("echo.service", "[Service]\nExecStart=\nExecStart=/bin/sh -c 'kill -SEGV $$$$'\n")
    with machine.connect(seconds=60) as patient:
        patient.sendall(b"I can wait\n")
        eventually(lambda: int(machine.show("echo.service", "NRestarts")) >= 4, "it is tried again")
        assert machine.show("echo.service", "RestartUSecNext") not in ("200ms", "")
        machine.drop_in("echo.service", "")
        machine.run("systemctl", "restart", "echo.service")
        assert patient.recv(100) == b"I can wait\n"


def test_file_takes_the_receivers_lines(machine):
    use(machine, "receiver.service.d/file.conf")
    with machine.connect(port=4041) as client:
        client.sendall(b"truck-7 52.3676 4.9041\n")
    positions = machine.path("/var/log/positions")
    eventually(lambda: positions.exists() and positions.read_text().endswith(" 0 - truck-7 52.3676 4.9041\n"),
               "the line is in the file")


def test_public_receiver_cuts_long_lines_and_refuses_the_21st_client_of_a_source(machine):
    use(machine, "receiver.service.d/public.conf")
    clients = [machine.connect(port=4041) for _ in range(20)]
    clients[0].sendall(b"x" * 5000 + b"\n")
    line, = eventually(lambda: records(machine, LINE, "receiver.service"), "the line is on record")
    assert (line["MESSAGE"], line["LINE_LENGTH"]) == ("x" * 4096, "5000")
    with machine.connect(port=4041) as excess:
        assert receive_all(excess) == b""
    for client in clients:
        client.close()
