"""The JSON schemas of an episode's topics, so that Foxglove knows what can be plotted and shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

TRANSITIONS = "/transitions"

COMPRESSED_IMAGE: dict[str, Any] = {
    "title": "foxglove.CompressedImage",
    "type": "object",
    "properties": {
        "timestamp": {
            "type": "object",
            "title": "time",
            "properties": {"sec": {"type": "integer"}, "nsec": {"type": "integer"}},
        },
        "frame_id": {"type": "string"},
        "format": {"type": "string"},
        "data": {"type": "string", "contentEncoding": "base64"},
    },
}

_ARRAY: dict[str, Any] = {
    "type": "object",
    "properties": {
        "dtype": {"type": "string"},
        "shape": {"type": "array", "items": {"type": "integer"}},
        "base64": {"type": "string", "contentEncoding": "base64"},
    },
}

TRANSITION: dict[str, Any] = {
    "title": "robot_rl.Transition",
    "type": "object",
    "properties": {
        **{name: {"type": "integer"} for name in ("episode", "index", "k_executed")},
        **{name: {"type": "boolean"} for name in ("terminal", "truncated")},
        "discount": {"type": "number"},
        "source": {"type": "string"},
        **dict.fromkeys(("features", "next_features", "noise", "steer", "base_chunk", "executed_chunk"), _ARRAY),
        **dict.fromkeys(("z", "next_z", "pool_noise", "pool_chunks"), _ARRAY),
    },
}


def name_of(topic: str) -> str:
    """The name of a topic's schema; a channel with another one is foreign."""
    if topic.startswith("/camera/"):
        return "foxglove.CompressedImage"
    return "robot_rl.Transition" if topic == TRANSITIONS else "robot_rl" + topic.replace("/", ".")


def schema_of(value: object) -> dict[str, Any]:
    """The schema of messages like this first one; it forbids nothing."""
    if isinstance(value, Mapping):
        return {"type": "object", "properties": {key: schema_of(item) for key, item in value.items()}}
    if isinstance(value, (list, tuple)):
        return {"type": "array", "items": schema_of(value[0])} if value else {"type": "array"}
    for kind, name in ((bool, "boolean"), ((int, float), "number"), (str, "string")):
        if isinstance(value, kind):
            return {"type": name}
    return {}
