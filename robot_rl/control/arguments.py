"""What an operator's command says, checked, and what a label is answered with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from robot_rl.control.ports import LabelEvent
from robot_rl.errors import ConfigError, nearest
from robot_rl.types import Label, LabelValue


def parsed_label(args: Mapping[str, Any], author: str) -> tuple[Label, int | None]:
    """A label, and the revision that it corrects. Raises `ConfigError`."""
    value = text(args, "value")
    values = [known.value for known in LabelValue]
    if value not in values:
        raise ConfigError(f"no label {value[:64]!r}{nearest(value[:64], values)}")
    label = Label(text(args, "event_id"), integer(args, "episode"), LabelValue(value), author)
    return label, None if args.get("expected_revision") is None else integer(args, "expected_revision")


def pressed(label: Label) -> dict[str, Any]:
    """The answer to a label that will be stored as soon as its episode is closed."""
    return {"episode": label.episode, "value": label.value.value, "stored": False}


def stored(event: LabelEvent) -> dict[str, Any]:
    """The answer to a label that is in the log."""
    label = event.label
    return {"episode": label.episode, "value": label.value.value, "stored": True, "label_revision": event.seq}


def text(args: Mapping[str, Any], name: str) -> str:
    """A text that is not empty. Raises `ConfigError`."""
    value = args.get(name)
    if not isinstance(value, str) or not value:
        raise ConfigError(f"argument {name!r}: expected a text, got {value!r:.80}")
    return value


def integer(args: Mapping[str, Any], name: str) -> int:
    """A whole number. Raises `ConfigError`."""
    value = args.get(name)
    if type(value) is not int:
        raise ConfigError(f"argument {name!r}: expected an integer, got {value!r:.80}")
    return value
