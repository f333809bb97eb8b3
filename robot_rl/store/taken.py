"""Where an episode is from that `train-offline` took over: such a one has transitions, and nothing else of its own."""

from __future__ import annotations

from pathlib import Path

from robot_rl.store.episode import read_messages

ORIGIN = "/origin"
"""Topic of the one message that says so."""


def taken_from(folder: Path) -> str | None:
    """In words, or None for an episode that was recorded here. Raises as `read_messages` does."""
    for message in read_messages(folder, ORIGIN):
        if "run" in message.body:
            return f"it was taken over from episode {message.body.get('episode')} of {message.body['run']}"
        return "it is a demonstration that was taken over"
    return None


def steers_known(folder: Path) -> bool:
    """Whether the steers of a closed episode's chunks are what was done: true of one that was recorded here.

    Of one that was taken over, that is as was written with it. Raises as `read_messages` does.
    """
    return all(message.body.get("steers_known") is True for message in read_messages(folder, ORIGIN))
