# SPDX-License-Identifier: MIT
"""Every process may die at any time; what a client notices, and what comes out, is said here for each."""

import os
import signal
from collections import Counter

import pytest

from manager import eventually, is_running
from receiver import KilledAt, Pipe, await_taken, leave, name, parse

# Of a Buffer that takes and delivers a line: what it calls, in this order.
CALLS = ["epoll_wait", "recvfrom", "sendmsg"]


def sent_lines(count, size=40):
    return [b"line %d " % i + b"x" * size for i in range(count)]


def talk(client, lines):
    """Says the lines in pieces that end within lines."""
    data = b"".join(line + b"\n" for line in lines)
    for i in range(0, len(data), 61):
        client.sendall(data[i:i + 61])


def assert_all_received(lines, sent):
    """In order, each at its place; one that comes again is the same."""
    places = [sum(len(line) + 1 for line in sent[:i]) for i in range(len(sent))]
    first_times = list(dict.fromkeys((line.offset, line.text) for line in lines))
    assert first_times == list(zip(places, sent))
    assert len({line.session for line in lines}) == 1


@pytest.mark.parametrize("nth", [1, 2, 3])
@pytest.mark.parametrize("call", CALLS)
def test_buffer_killed_as_it_enters_a_call_loses_nothing(receive, call, nth):
    """At its second recvfrom(2), say, it has delivered a line and has not dropped it yet."""
    receiver = receive("--prefix", "--workers=1")
    sent = sent_lines(30)
    with receiver.connect() as client:
        client.sendall(b"begun, ")
        await_taken(client)
        killed = KilledAt(receiver.buffer_of(client), call, nth)
        client.sendall(b"and ended\n")
        for line in sent:
            client.sendall(line + b"\n")
        dots = 0
        while not killed.is_over():  # so that there are as many calls as it takes
            assert dots < 1000, f"{call} is not entered {nth} times"
            client.sendall(b".\n")
            dots += 1
            await_taken(client)
        killed.close()
        client.sendall(b"tail")
        leave(client)
    eventually(lambda: any(line.mark == b"tail" for line in receiver.received()), "tail")
    lines = receiver.received()
    assert_all_received(lines, [b"begun, and ended", *sent, *([b"."] * dots), b"tail"])
    assert [line.mark for line in lines] == [b"-"] * (len(lines) - 1) + [b"tail"]
    assert receiver.await_line(f"left: eof, {1 + len(sent) + dots} lines", 5)


def test_buffer_killed_between_delivering_and_dropping_delivers_once_more_at_the_same_offset(receive):
    receiver = receive("--prefix", "--workers=1")
    with receiver.connect() as client:
        client.sendall(b"first\n")
        receiver.await_lines(1)
        await_taken(client)
        killed = KilledAt(receiver.buffer_of(client), "recvfrom", 2)  # looks, delivers, and would drop
        client.sendall(b"second\n")
        eventually(killed.is_over, "end of the Buffer")
        killed.close()
        client.sendall(b"third\n")
        leave(client)
    lines = receiver.await_lines(3)
    assert [(line.offset, line.text) for line in lines] == [
        (0, b"first"), (6, b"second"), (6, b"second"), (13, b"third")]
    assert receiver.await_line("left: eof, 3 lines", 5)


def test_line_whose_end_comes_between_two_buffers_comes_whole_and_so_does_the_next(receive):
    """The first one has kept the beginning, and has not dropped it yet; the second one sees all of the line."""
    receiver = receive("--prefix", "--workers=1")
    with receiver.connect() as client:
        client.sendall(b"first\n")
        receiver.await_lines(1)
        await_taken(client)
        worker = receiver.worker_of(client)
        killed = KilledAt(receiver.buffer_of(client), "recvfrom", 2)
        os.kill(worker, signal.SIGSTOP)  # no successor yet
        client.sendall(b"begun, ")
        eventually(killed.is_over, "end of the Buffer")
        killed.close()
        client.sendall(b"and ended\n")
        os.kill(worker, signal.SIGCONT)
        receiver.await_lines(2)
        client.sendall(b"third\n")
        leave(client)
    assert [line[1:] for line in receiver.await_lines(3)] == [
        (0, b"-", b"first"), (6, b"-", b"begun, and ended"), (23, b"-", b"third")]


def test_buffer_killed_between_lines_repeats_nothing(receive):
    receiver = receive("--prefix")
    sent = sent_lines(200)
    with receiver.connect() as client:
        for i in range(0, len(sent), 20):
            talk(client, sent[i:i + 20])
            await_taken(client)
            receiver.kill_buffer_of(client)
        leave(client)
    lines = receiver.await_lines(len(sent))
    assert_all_received(lines, sent)
    assert len(lines) == len(sent)
    assert receiver.await_line("left: eof, 200 lines", 5)


def test_beginning_of_a_line_outlives_its_buffer_and_its_bytes_are_counted(receive):
    receiver = receive("--prefix")
    with receiver.connect() as client:
        for piece in (b"a line ", b"in many", b" pieces"):
            client.sendall(piece)
            await_taken(client)
            receiver.kill_buffer_of(client)
        client.sendall(b"\nand ")
        await_taken(client)
        receiver.kill_buffer_of(client)
        client.sendall(b"another\n")
        leave(client)
    assert [line[1:] for line in receiver.await_lines(2)] == [
        (0, b"-", b"a line in many pieces"), (22, b"-", b"and another")]


def test_sigterm_only_replaces_a_buffer(receive):
    receiver = receive("--prefix")
    with receiver.connect() as client:
        client.sendall(b"begun, ")
        await_taken(client)
        receiver.kill_buffer_of(client, signal.SIGTERM)
        client.sendall(b"and ended\n")
        assert [line[1:] for line in receiver.await_lines(1)] == [(0, b"-", b"begun, and ended")]
        leave(client)


def test_stopped_buffer_holds_up_its_own_clients_only(receive):
    receiver = receive("--prefix")
    with receiver.connect() as client, receiver.connect() as other:
        stopped = receiver.buffer_of(client)
        os.kill(stopped, signal.SIGSTOP)
        client.sendall(b"late\n")
        other.sendall(b"early\n")
        assert [line.text for line in receiver.await_lines(1)] == [b"early"]
        os.kill(stopped, signal.SIGCONT)
        assert [line.text for line in receiver.await_lines(2)] == [b"early", b"late"]


def test_client_that_leaves_while_no_buffer_lives_is_served_to_its_end(receive):
    receiver = receive("--prefix")
    with receiver.connect() as client:
        worker, buffer = receiver.worker_of(client), receiver.buffer_of(client)
        os.kill(worker, signal.SIGSTOP)
        os.kill(buffer, signal.SIGKILL)
        client.sendall(b"one\ntwo\ntail")
        client.shutdown(1)
        os.kill(worker, signal.SIGCONT)
        assert client.recv(1) == b""
    assert [line[1:] for line in receiver.await_lines(3)] == [
        (0, b"-", b"one"), (4, b"-", b"two"), (8, b"tail", b"tail")]


def kill_sink(receiver):
    pid = receiver.sink()
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: receiver.sink() != pid, "another sink")


def test_what_a_killed_sink_has_begun_to_write_is_taken_back_from_a_file(receive):
    """The fragment is written here: no kill from outside can be aimed into the middle of a write(2)."""
    receiver = receive("--prefix")
    with receiver.connect() as client:
        client.sendall(b"first\n")
        session = receiver.await_lines(1)[0].session
        killed = KilledAt(receiver.sink(), "write", 1)
        os.kill(receiver.pid, signal.SIGSTOP)  # no successor yet
        client.sendall(b"second\n")
        eventually(killed.is_over, "end of the sink")
        killed.close()
        with receiver.path.open("ab") as file:
            file.write(session + b" 6 - sec")
        os.kill(receiver.pid, signal.SIGCONT)
        client.sendall(b"third\n")
        leave(client)
    assert [line[1:] for line in receiver.await_lines(3)] == [
        (0, b"-", b"first"), (6, b"-", b"second"), (13, b"-", b"third")]


@pytest.mark.parametrize("others", [b"from somebody else\n", b"x" * 5000 + b"\n"], ids=["a line", "a long line"])
def test_what_others_have_written_to_the_file_is_not_taken_back(receive, others):
    receiver = receive("--prefix")
    with receiver.connect() as client:
        client.sendall(b"first\n")
        receiver.await_lines(1)
        with receiver.path.open("ab") as file:
            file.write(others)
        kill_sink(receiver)
        client.sendall(b"second\n")
        eventually(lambda: receiver.data().endswith(b" second\n"), "second line")
    assert receiver.data().splitlines(keepends=True)[1] == others


def test_what_a_killed_sink_has_begun_to_write_is_closed_off_in_a_pipe(receive):
    pipe = Pipe()
    receiver = receive("--prefix", "--line-max=131072", stdout=pipe.into)
    with receiver.connect() as client:
        client.sendall(b"y" * 100000 + b"\n")
        eventually(lambda: pipe.held() == pipe.capacity(), "full pipe")
        kill_sink(receiver)
        client.sendall(b"next\n")
        leave(client)
    lines = pipe.read_lines(2)  # and a fragment
    fragment, whole, following = bytes(pipe.data).split(b"\n")[:-1]
    assert len(fragment) == pipe.capacity() and whole.startswith(fragment)
    assert lines[1].text == b"y" * 100000
    assert (following, lines[2].text) == (lines[0].session + b" 100001 - next", b"next")
    pipe.close()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_clients_notice_nothing_of_another_acceptor(receive, number):
    receiver = receive("--prefix")
    sent = sent_lines(60)
    with receiver.connect() as client:
        assert receiver.await_line(" connected", 5)  # one that is not handed over yet is lost
        for i in range(0, len(sent), 10):
            talk(client, sent[i:i + 10])
            receiver.kill(number)
            receiver.serve()
        leave(client)
    assert_all_received(receiver.await_lines(len(sent)), sent)
    assert receiver.await_line("left: eof, 60 lines", 5)
    assert receiver.await_status("0 clients, 1 served, 0 lost", 5)


def test_lines_go_on_while_no_acceptor_lives(receive):
    receiver = receive("--prefix")
    with receiver.connect() as client:
        client.sendall(b"first\n")
        receiver.await_lines(1)
        receiver.kill()
        receiver.kill_buffer_of(client)
        client.sendall(b"second\n")
        receiver.await_lines(2)
        leave(client)
        receiver.serve()
    assert [line.text for line in receiver.received()] == [b"first", b"second"]
    assert receiver.await_line("left: eof, 2 lines", 5)


def test_sink_killed_while_no_acceptor_lives_is_followed_by_the_next_ones(receive):
    receiver = receive("--prefix")
    with receiver.connect() as client:
        client.sendall(b"first\n")
        receiver.await_lines(1)
        sink = receiver.sink()
        receiver.kill()
        os.kill(sink, signal.SIGKILL)
        client.sendall(b"second\n")
        await_taken(client)
        receiver.serve()
        assert [line.text for line in receiver.await_lines(2)] == [b"first", b"second"]
        leave(client)


def test_killed_worker_loses_its_clients_connection_and_nothing_that_was_received(receive):
    """Its Buffer drains, as in a stop."""
    receiver = receive("--prefix")
    with receiver.connect() as victim, receiver.connect() as other:
        victim.sendall(b"of the victim\nand a part")
        buffer, worker = receiver.buffer_of(victim), receiver.worker_of(victim)
        os.kill(worker, signal.SIGKILL)
        assert victim.recv(1) == b""
        gone = name(victim)
        victim.close()
        eventually(lambda: not is_running(buffer), "end of its Buffer")
        other.sendall(b"of the other\n")
        lines = receiver.await_lines(3)
        assert {line[1:] for line in lines} == {
            (0, b"-", b"of the victim"), (14, b"tail", b"and a part"), (0, b"-", b"of the other")}
        assert receiver.await_line(f"Worker {worker} lost with 1 clients: killed by SIGKILL", 5)
        assert receiver.await_line(f"Client {gone} left: lost with its worker", 5)
        assert receiver.await_status("1 clients, 2 served, 1 lost", 5)
        leave(other)


def test_buffer_that_keeps_dying_in_vain_is_tried_again_and_again_but_seldom(receive):
    receiver = receive("--prefix", "--workers=1")
    with receiver.connect() as client:
        worker = receiver.worker_of(client)
        dead = Counter()

        def kill_another():
            buffer = receiver.buffer_of(client)
            dead[buffer] += 1
            os.kill(buffer, signal.SIGKILL)
            eventually(lambda: not is_running(buffer), "end of the Buffer")
        for _ in range(10):
            kill_another()
        assert len(dead) == 10
        client.sendall(b"line\n")
        receiver.await_lines(1)
        assert is_running(worker)
        leave(client)
    assert parse(receiver.data())[0].text == b"line"
