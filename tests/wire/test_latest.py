import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import zmq

from robot_rl.errors import ConfigError
from robot_rl.wire.latest import Latest, Publisher, Subscriber


@pytest.fixture
def pair() -> Iterator[tuple[Publisher, Latest]]:
    with TemporaryDirectory() as folder:
        publisher = Publisher(f"ipc://{folder}/pub")
        latest = Latest(publisher.endpoint)
        deadline = time.monotonic() + 5
        while "hello" not in latest.poll(10) and time.monotonic() < deadline:
            publisher.publish("hello", {})  # until the subscription is there
        yield publisher, latest
        publisher.close()
        latest.close()


def test_the_newest_of_each_topic_wins(pair: tuple[Publisher, Latest]) -> None:
    publisher, latest = pair
    for seq in range(5):
        publisher.publish("front", {"seq": seq}, b"jpeg%d" % seq)
    publisher.publish("side", {"seq": 7})
    deadline = time.monotonic() + 5
    while "side" not in latest.poll(50) and time.monotonic() < deadline:
        pass
    assert latest.newest["front"] == ({"seq": 4}, b"jpeg4")
    assert latest.newest["side"] == ({"seq": 7}, b"")


def test_a_subscriber_is_given_all_of_it_in_order(tmp_path: Path) -> None:
    publisher = Publisher(f"ipc://{tmp_path}/pub", backlog=64)
    subscriber = Subscriber(publisher.endpoint, backlog=64)
    deadline = time.monotonic() + 5
    while not list(subscriber.take(10)) and time.monotonic() < deadline:
        publisher.publish("hello", {})
    for seq in range(50):
        publisher.publish("front", {"seq": seq}, b"jpeg%d" % seq)
    got: list[tuple[str, object, bytes]] = []
    while len(got) < 50 and time.monotonic() < deadline:
        got += [message for message in subscriber.take(50) if message[0] == "front"]
    assert got == [("front", {"seq": seq}, b"jpeg%d" % seq) for seq in range(50)]
    subscriber.close()
    publisher.close()


def test_a_subscriber_that_is_starved_is_not_given_up(pair: tuple[Publisher, Latest]) -> None:
    """With heartbeats either end would close the connection after 3 s, and libzmq abort the subscriber's process."""
    for end in pair:
        assert end._socket.getsockopt(zmq.HEARTBEAT_IVL) == 0


def test_a_publisher_that_is_started_again_is_heard(tmp_path: Path) -> None:
    latest = Latest(f"ipc://{tmp_path}/pub")
    for life in (1, 2):
        publisher = Publisher(f"ipc://{tmp_path}/pub")
        deadline = time.monotonic() + 5
        while latest.poll(10).get("life", ({}, b""))[0].get("life") != life:
            assert time.monotonic() < deadline
            publisher.publish("life", {"life": life})
        publisher.close()
    latest.close()


def test_a_publisher_never_waits(pair: tuple[Publisher, Latest]) -> None:
    publisher, _ = pair
    began = time.monotonic()
    for seq in range(2000):
        publisher.publish("front", {"seq": seq}, bytes(10_000))
    assert time.monotonic() - began < 2


def test_malformed_news_are_counted(pair: tuple[Publisher, Latest]) -> None:
    publisher, latest = pair
    for frames in ([b"x"], [b"x", b"\xc1", b""], [b"x", b"\x90", b""], [b"\xff", b"\x80", b""], [b"x"] * 9):
        publisher._socket.send_multipart(frames)
    publisher.publish("end", {})
    deadline = time.monotonic() + 5
    while "end" not in latest.poll(50) and time.monotonic() < deadline:
        pass
    assert latest.dropped == 5
    assert latest.newest.keys() == {"hello", "end"}


def test_other_machines_are_kept_out() -> None:
    with pytest.raises(ConfigError, match="loopback"):
        Publisher("tcp://*:5600")
