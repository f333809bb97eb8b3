"""ZMQ sockets as all of this project opens and reads them."""

from __future__ import annotations

import zmq

from robot_rl.wire.codec import Frame
from robot_rl.wire.values import Limits

POLLIN = int(zmq.POLLIN)
"""As a number: with its enumeration, each question costs as much as what it asks."""
COPIED = 2**15
"""Bytes up to which a frame that came is copied."""


def open_socket(kind: int, limits: Limits, context: zmq.Context[zmq.Socket[bytes]] | None = None) -> zmq.Socket[bytes]:
    """A socket that drops frames beyond the limits and never delays an exit.

    It notices a dead peer within 3 s; one that publishes or subscribes, when the kernel closes the connection.
    """
    opened: zmq.Socket[bytes] = (context or zmq.Context.instance()).socket(kind)
    opened.setsockopt(zmq.LINGER, 0)
    opened.setsockopt(zmq.MAXMSGSIZE, limits.total_bytes)
    if kind not in (zmq.PUB, zmq.SUB):
        # A subscriber that gets no time for as long as its backlog is full answers no heartbeat; its connection is then
        # made anew, and libzmq aborts its process (issue 3937, up to 4.3.5 at least). On one host the kernel says
        # when a peer is gone.
        opened.setsockopt(zmq.HEARTBEAT_IVL, 1000)
        opened.setsockopt(zmq.HEARTBEAT_TIMEOUT, 3000)
    opened.setsockopt(zmq.RECONNECT_IVL, 20)
    opened.setsockopt(zmq.RECONNECT_IVL_MAX, 500)
    return opened


def receive_one(source: zmq.Socket[bytes]) -> Frame:
    """A message of one frame; what comes in several is read, thrown away, and nothing. Large ones stay where zmq put
    them.

    Little ones are copied: in zmq's hands they lie at odd addresses, and keep their neighbours from being freed.
    """
    frame = source.recv(copy=False)
    more = frame.more
    if not more:
        return frame.bytes if len(frame) <= COPIED else frame.buffer.toreadonly()
    while more:
        more = source.recv(copy=False).more
    return b""


def receive(source: zmq.Socket[bytes], most: int) -> list[Frame]:
    """The frames of one message; those beyond `most` + 1 are read and thrown away. As `receive_one` without copy."""
    frames: list[Frame] = []
    more = True
    while more:
        frame = source.recv(copy=False)
        more = frame.more
        if len(frames) <= most:
            frames.append(frame.bytes if len(frame) <= COPIED else frame.buffer.toreadonly())
    return frames


def waits(source: zmq.Socket[bytes]) -> bool:
    """Whether `source` has a message; `poll(0)` says the same, at ten times the price."""
    events = source.getsockopt(zmq.EVENTS)
    return isinstance(events, int) and events & POLLIN != 0
