# SPDX-License-Identifier: MIT
"""What is a line, and what of it is delivered; however it was split on its way."""

import random

import pytest

from receiver import Line, Pipe, await_taken, memory, parse

MAX = 10  # --line-max of the tests that cut

# {what is sent: [(offset, mark, text)]}
CASES = {
    b"": [],
    b"one\n": [(0, b"-", b"one")],
    b"one\ntwo\n": [(0, b"-", b"one"), (4, b"-", b"two")],
    b"\n": [(0, b"-", b"")],
    b"\n\n\nx\n": [(0, b"-", b""), (1, b"-", b""), (2, b"-", b""), (3, b"-", b"x")],
    b"a\r\nb\n": [(0, b"-", b"a"), (3, b"-", b"b")],
    b"\r\n": [(0, b"-", b"")],
    b"a\r\r\n": [(0, b"-", b"a\r")],
    b"\ra\rb\n": [(0, b"-", b"\ra\rb")],
    b"a\0b\0\n\0\n": [(0, b"-", b"a\0b\0"), (5, b"-", b"\0")],
    b"\xff\xfe\xc3\n\xc3\xa9\n": [(0, b"-", b"\xff\xfe\xc3"), (4, b"-", b"\xc3\xa9")],
    b"tail": [(0, b"tail", b"tail")],
    b"one\ntail": [(0, b"-", b"one"), (4, b"tail", b"tail")],
    b"tail\r": [(0, b"tail", b"tail\r")],
    b"0123456789\nx\n": [(0, b"-", b"0123456789"), (11, b"-", b"x")],
    b"0123456789\r\nx\n": [(0, b"-", b"0123456789"), (12, b"-", b"x")],
    b"0123456789+\nx\n": [(0, b"cut=11", b"0123456789"), (12, b"-", b"x")],
    b"0123456789+\r\nx\n": [(0, b"cut=12", b"0123456789"), (13, b"-", b"x")],
    b"0123456789\r+\nx\n": [(0, b"cut=12", b"0123456789"), (13, b"-", b"x")],
    b"0123456789" * 30 + b"\nx\n": [(0, b"cut=300", b"0123456789"), (301, b"-", b"x")],
    b"0123456789": [(0, b"tail", b"0123456789")],
    b"0123456789+": [(0, b"cut=11,tail", b"0123456789")],
    b"0123456789" * 30: [(0, b"cut=300,tail", b"0123456789")],
    b"y\n0123456789+": [(0, b"-", b"y"), (2, b"cut=11,tail", b"0123456789")],
}

SPLITS = {
    "at once": lambda sent: [sent],
    "byte by byte": lambda sent: [sent[i:i + 1] for i in range(len(sent))],
    "in the middle": lambda sent: [sent[:len(sent) // 2], sent[len(sent) // 2:]],
    "before its last byte": lambda sent: [sent[:-1], sent[-1:]],
}


@pytest.mark.parametrize("split", SPLITS)
def test_lines_are_what_lf_ends(receive, split):
    receiver = receive("--prefix", f"--line-max={MAX}", "--workers=2")
    got = []
    for sent, expected in CASES.items():
        before = len(receiver.received())
        receiver.say(*filter(None, SPLITS[split](sent)))
        lines = receiver.await_lines(before + len(expected))[before:]
        assert [line[1:] for line in lines] == expected, sent
        got += lines
    assert receiver.received() == got  # and nothing else
    sessions = [line.session for line in got]
    assert len(set(sessions)) == sum(expected != [] for expected in CASES.values())


@pytest.mark.parametrize("length, mark", [(65536, b"-"), (65537, b"cut=65537"), (10 << 20, b"cut=10485760")])
@pytest.mark.parametrize("end", [b"\n", b""], ids=["newline", "end of file"])
def test_line_of_more_than_64_kib_is_cut(receive, length, mark, end):
    receiver = receive("--prefix")
    sent = random.Random(length).randbytes(length).translate(bytes.maketrans(b"\n\r", b"NR"))
    with receiver.connect() as client:
        client.sendall(b"first\n" + sent)
        buffer = receiver.buffer_of(client)
        client.sendall(end + b"next\n" if end else b"")
        await_taken(client)
        most = memory(buffer)
        client.shutdown(1)
        lines = receiver.await_lines(3 if end else 2)
    if not end:
        mark = b"tail" if mark == b"-" else mark + b",tail"
    session = lines[0].session
    assert lines == [Line(session, 0, b"-", b"first"), Line(session, 6, mark, sent[:65536]),
                     *([Line(session, 6 + length + 1, b"-", b"next")] if end else [])]
    assert most < 8 << 20


def test_longest_line_that_can_be_asked_for_comes_whole(receive):
    receiver = receive("--prefix", "--line-max=131072")
    receiver.say(b"x" * 131072 + b"\n", b"y" * 131073)
    lines = receiver.await_lines(2)
    assert [line[1:] for line in lines] == [(0, b"-", b"x" * 131072), (131073, b"cut=131073,tail", b"y" * 131072)]


def test_without_prefix_lines_are_as_they_came(receive):
    receiver = receive()
    receiver.say(b"one\r\n\ntwo\n", b"a\0\xff\n", b"tail")
    receiver.say(b"another\n")
    receiver.await_text(b"one\n\ntwo\na\0\xff\ntail\nanother\n")


def test_lines_longer_than_a_pipe_takes_at_once_are_not_torn(receive):
    pipe = Pipe()
    receiver = receive("--prefix", stdout=pipe.into)
    sent = [bytes([65 + i]) * (4000 * i + 17) for i in range(16)]
    with receiver.connect() as client, receiver.connect() as other:
        for line in sent:
            client.sendall(line + b"\n")
            other.sendall(line + b"\n")
        lines = pipe.read_lines(2 * len(sent))
    for session in {line.session for line in lines}:
        assert [line.text for line in lines if line.session == session] == sent
    assert lines == parse(bytes(pipe.data))
    pipe.close()
