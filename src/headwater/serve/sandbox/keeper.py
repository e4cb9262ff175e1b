"""The warm process between the project and its turns: everything is imported, and a question costs a fork.

It has one thread, knows no secrets, and never sees what a user wrote: the question goes from the room to the turn over
a socket of their own, which the keeper only hands on. It ends turns that take too long, and ends with the room.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass

from headwater.clock import Clock, SystemClock
from headwater.serve.sandbox.given import Given, unpack
from headwater.serve.sandbox.walls import Walls
from headwater.serve.sandbox.wire import LENGTH, Header, frame, receive, receive_bytes

CPU_MORE_S = 2
"""Seconds of CPU time beyond the time by the clock: what a turn takes that the clock did not stop."""

Turn = Callable[[Given, socket.socket], None]


@dataclass
class Running:
    """A turn.

    Attributes:
        number: the room's name for it.
        ends_s: when it is killed.
        late: it was.
    """

    number: int
    ends_s: float
    late: bool = False


class Keeper:
    """See above.

    Args:
        control: to the room.
        given: what turns work with.
        turn: what a fork does.
        clock: time.
    """

    def __init__(self, control: socket.socket, given: Given, turn: Turn, clock: Clock) -> None:
        self._control, self._given, self._turn, self._clock = control, given, turn, clock
        self._turns: dict[int, Running] = {}
        self._bytes, self._sockets = bytearray(), list[int]()
        self._wake, wake = socket.socketpair()
        for end in (self._wake, wake):
            end.setblocking(False)
        self._waker = wake

    def run(self) -> None:
        """Serves until the room is gone."""
        signal.signal(signal.SIGCHLD, lambda number, stack: None)
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        try:
            while self._step():
                pass
        finally:
            for pid in self._turns:
                os.kill(pid, signal.SIGKILL)

    def _step(self) -> bool:
        ends = [turn.ends_s for turn in self._turns.values() if not turn.late]
        wait = max(0.0, min(ends) - self._clock.monotonic_s()) if ends else None
        ready, _, _ = select.select([self._control, self._wake], [], [], wait)
        if self._wake in ready:
            self._wake.recv(4096)
        self._reap()
        self._end_late()
        return self._control not in ready or self._listen()

    def _listen(self) -> bool:
        """Takes what the room says; False if it is gone."""
        text, sockets, _, _ = socket.recv_fds(self._control, 65536, 64)
        if not text:
            return False
        self._bytes += text
        self._sockets += sockets
        while len(self._bytes) >= LENGTH.size:
            (size,) = LENGTH.unpack_from(self._bytes)
            if len(self._bytes) < LENGTH.size + size:
                break
            said = bytes(self._bytes[: LENGTH.size + size])
            del self._bytes[: LENGTH.size + size]
            self._obey(_read(said))
        return True

    def _obey(self, said: Header) -> None:
        if "kill" in said:
            for pid, turn in self._turns.items():
                if turn.number == said["kill"]:
                    os.kill(pid, signal.SIGKILL)
            return
        given = socket.socket(fileno=self._sockets.pop(0))
        timeout_s = float(said["timeout_s"])
        pid = os.fork()
        if not pid:
            self._be_a_turn(given, timeout_s)
        given.close()
        self._turns[pid] = Running(said["id"], self._clock.monotonic_s() + timeout_s)

    def _be_a_turn(self, given: socket.socket, timeout_s: float) -> None:
        """In the fork. Never returns."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            for end in (self._control, self._wake, self._waker):
                end.close()
            limits = self._given.limits
            threads = max(1, limits.threads)
            Walls(
                int(limits.memory), int(timeout_s * threads) + CPU_MORE_S, self._given.reads, self._given.remote
            ).raise_up()
            self._turn(self._given, given)
            code = 0
        finally:
            os._exit(code)  # nothing of the keeper's is to run again here, not even at exit

    def _reap(self) -> None:
        while self._turns:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            turn = self._turns.pop(pid, None)
            if turn is not None:
                said = {"ended": turn.number, "exit": os.waitstatus_to_exitcode(status), "late": turn.late}
                self._control.sendall(frame(said))

    def _end_late(self) -> None:
        now = self._clock.monotonic_s()
        for pid, turn in self._turns.items():
            if turn.ends_s <= now and not turn.late:
                turn.late = True
                os.kill(pid, signal.SIGKILL)


def _read(said: bytes) -> Header:
    import json

    header: Header = json.loads(said[LENGTH.size :])
    return header


def main() -> None:
    """Entry point: `python -m headwater.serve.sandbox.keeper DESCRIPTOR`."""
    control = socket.socket(fileno=int(sys.argv[1]))
    try:
        given = unpack(receive_bytes(control, int(receive(control)["given"])))
        from headwater.serve.sandbox.turn import rehearse, turn

        rehearse(given)
        gc.collect()
        gc.freeze()
        control.sendall(frame({"ready": os.getpid()}))
        Keeper(control, given, turn, SystemClock()).run()
    except (EOFError, BrokenPipeError, ConnectionResetError, KeyboardInterrupt):
        pass  # the room is gone


if __name__ == "__main__":
    main()
    os._exit(0)  # taking all that it has loaded apart takes as long as loading it
