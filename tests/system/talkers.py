# SPDX-License-Identifier: MIT
"""Clients that talk all the time and verify every byte.

Imported, this is the tests' side: Talkers starts the program and gives it its cues. Run as a program in the
container's network (talkers.py COUNT PORT THINKING), it keeps COUNT connections busy until it is told to leave.
"""

import asyncio
import json
import random
import signal
import subprocess
import sys

ANSWER_SECONDS = 20  # the longest that a client waits for its echo
LIFETIME_SECONDS = 150
THINKING_SECONDS = 0.005  # between two sends: 50 clients are to talk, not to keep both cores busy
POLL_SECONDS = 0.005


class Talkers:
    """A crowd that has connected, and has had answers, when the constructor returns."""

    def __init__(self, machine, count=50, port=4040, thinking=THINKING_SECONDS):
        self._process = machine.start(
            sys.executable, __file__, str(count), str(port), str(thinking), network_only=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.go_on()

    def go_on(self):
        """Returns when every client has had an answer to something it sent after this call."""
        report = self._cue("go on")
        assert report["errors"] == []

    def leave(self):
        """Closes all connections. Returns {peer: {"lines": sent, "bytes": sent}}."""
        report = self._cue("leave")
        assert report["errors"] == []
        return report["talked"]

    def sent_off_by(self, stop):
        """Stops the service. Returns when it has parted from every client: what it still answers is right, and
        then comes FIN."""
        self._cue("may end")
        stop()
        report = self._cue("end")
        assert report["errors"] == []

    def _cue(self, cue):
        self._process.stdin.write(cue + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


class Talker:
    def __init__(self, number, thinking):
        self.random = random.Random(number)
        self.thinking = thinking
        self.rounds = 0
        self.talked = {"lines": 0, "bytes": 0}
        self.leaving = self.may_end = False
        self.error = None

    async def connect(self, port):
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", port)
        address, port = self.writer.get_extra_info("sockname")
        self.peer = f"{address}:{port}"

    def lines(self):
        """Some lines of any bytes: short, long and empty ones."""
        lengths = [self.random.choice((0, 1, 30, 400, 6000)) for _ in range(self.random.randint(1, 6))]
        return b"".join(self.random.randbytes(length) + b"\n" for length in lengths)

    async def talk(self):
        try:
            while not self.leaving and not self.reader.at_eof():
                await asyncio.wait_for(self.round(), ANSWER_SECONDS)
            self.writer.write_eof()
            rest = await asyncio.wait_for(self.reader.read(), ANSWER_SECONDS)
            if rest:
                raise ValueError(f"{len(rest)} bytes too many")
        except (OSError, EOFError, ValueError, asyncio.TimeoutError) as error:
            self.error = f"{self.peer} in round {self.rounds}: {error!r}"
        self.writer.close()

    async def round(self):
        sent = self.lines()
        cut = self.random.randrange(len(sent))  # mostly in the middle of a line
        self.writer.write(sent[:cut])
        await asyncio.sleep(self.thinking)
        self.writer.write(sent[cut:])
        try:
            echo = await self.reader.readexactly(len(sent))
        except asyncio.IncompleteReadError as end:
            if not self.may_end:
                raise
            echo = end.partial
        if not sent.startswith(echo):
            raise ValueError("the echo differs")
        self.rounds += 1
        self.talked["lines"] += sent.count(b"\n")
        self.talked["bytes"] += len(sent)

    async def go_on(self):
        """Until a round is through that began after this call."""
        seen = self.rounds
        while self.rounds < seen + 2 and not self.error:
            await asyncio.sleep(POLL_SECONDS)


async def main(count, port, thinking):
    talkers = [Talker(number, thinking) for number in range(count)]
    await asyncio.gather(*(talker.connect(port) for talker in talkers))
    talks = [asyncio.create_task(talker.talk()) for talker in talkers]
    loop = asyncio.get_running_loop()
    while cue := await loop.run_in_executor(None, sys.stdin.readline):
        if cue == "may end\n":
            for talker in talkers:
                talker.may_end = True
        elif cue in ("leave\n", "end\n"):
            for talker in talkers:
                talker.leaving = cue == "leave\n"
            await asyncio.gather(*talks)
        else:
            await asyncio.gather(*(talker.go_on() for talker in talkers))
        print(json.dumps({"errors": [talker.error for talker in talkers if talker.error],
                          "talked": {talker.peer: talker.talked for talker in talkers}}), flush=True)


if __name__ == "__main__":
    signal.alarm(LIFETIME_SECONDS)
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
