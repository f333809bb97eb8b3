"""JSON, in and out: Python reads and writes NaN and infinity, a browser does neither, so here nothing does."""

from __future__ import annotations

import json
import math
from collections.abc import AsyncIterator
from typing import Any

from pydantic_core import from_json

from robot_rl.console.refusals import BadMessage, TooLarge

LIMIT_BYTES = 64 * 1024
"""Of a request's body, and of a message on a websocket."""


async def read(body: AsyncIterator[bytes]) -> bytes:
    """All of a request's body, as it comes in. Raises `TooLarge` as soon as it is more than `LIMIT_BYTES`."""
    whole = b""
    async for part in body:
        whole += part
        if len(whole) > LIMIT_BYTES:
            raise TooLarge(f"expected at most {LIMIT_BYTES} bytes, got more: send one command at a time")
    return whole


def parse(text: str | bytes) -> dict[str, Any]:
    """The JSON object in `text`. Raises `BadMessage`, also for a number that is not finite (NaN, Infinity, 1e999)."""
    try:
        value = from_json(text)
    except ValueError as error:
        raise BadMessage(f"expected a JSON object: {error}") from error
    if finite(value) != value:
        raise BadMessage("expected finite numbers, got NaN or an infinity")
    if not isinstance(value, dict):
        raise BadMessage(f"expected a JSON object, got {value!r:.40}")
    return value


def compose(value: Any) -> str:
    """The JSON text of `value`, what is not finite as null. Raises `TypeError` for what JSON does not have."""
    return json.dumps(finite(value), separators=(",", ":"), allow_nan=False)


def finite(value: Any) -> Any:
    """`value` with every NaN and infinity as None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return value
