"""The operator's commands: their arguments, checked before they travel, and how a refusal reads to a browser."""

from __future__ import annotations

import logging
from typing import Any

import anyio
import anyio.to_thread
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from robot_rl.console.port import OperatorPort
from robot_rl.errors import ConfigError, DeadlineMissed, IllegalTransition, LabelConflict, RobotRLError, nearest
from robot_rl.types import LabelValue

log = logging.getLogger(__name__)


class NoArguments(BaseModel):
    """`{}`"""

    model_config = ConfigDict(extra="forbid")


class LabelArguments(NoArguments):
    """One 0/1 (or discard) for one episode; with `expected_revision` it is a correction of what the page showed."""

    episode: int = Field(ge=0)
    value: LabelValue
    event_id: str = Field(min_length=1, max_length=64)
    expected_revision: int | None = None


class UndoArguments(NoArguments):
    """Give an episode the label it had before its newest one."""

    episode: int = Field(ge=0)


class ClearArguments(NoArguments):
    """Clear one latched cause, by the id of its occurrence."""

    cause_id: str = Field(min_length=1, max_length=128)


ARGUMENTS: dict[str, type[NoArguments]] = {
    "arm": NoArguments,
    "run": NoArguments,
    "pause": NoArguments,
    "end": NoArguments,
    "label": LabelArguments,
    "undo": UndoArguments,
    "reset_done": NoArguments,
    "clear": ClearArguments,
    "stop": NoArguments,
}


class UnknownCommand(ConfigError):
    """A command's name that is not in `ARGUMENTS`; the message names the nearest."""


class BadArguments(ConfigError):
    """A command's arguments are not of the form that it takes."""


def checked(name: str, args: dict[str, Any]) -> dict[str, Any]:
    """`args` as the port takes them. Raises `UnknownCommand` or `BadArguments`."""
    if name not in ARGUMENTS:
        raise UnknownCommand(f"no command {name[:64]!r}{nearest(name[:64], ARGUMENTS)}")
    try:
        model = ARGUMENTS[name].model_validate(args)
    except ValidationError as error:
        places = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'arguments'}: {e['msg']}" for e in error.errors())
        raise BadArguments(f"command {name!r}: {places}") from error
    return model.model_dump(mode="json", exclude_none=True)


def http_status(error: RobotRLError) -> int:
    """The HTTP status that a refusal has, on both the socket and POST."""
    if isinstance(error, (IllegalTransition, LabelConflict)):
        return 409
    if isinstance(error, UnknownCommand):
        return 404
    if isinstance(error, ConfigError):  # `BadArguments`, or what the actor itself finds wrong in them
        return 422
    return 504 if isinstance(error, DeadlineMissed) else 503


class Commands:
    """Runs the port's blocking calls on threads, STOP on threads of its own so that nothing can be ahead of it."""

    def __init__(self, port: OperatorPort) -> None:
        self._port = port
        self._stop_threads = anyio.CapacityLimiter(8)

    async def perform(self, name: str, args: dict[str, Any], author: str) -> dict[str, Any]:
        """Check and carry out one command. Raises the port's errors, `UnknownCommand` and `BadArguments`."""
        args = checked(name, args)
        if name == "stop":
            return await anyio.to_thread.run_sync(self._port.stop, author, limiter=self._stop_threads)
        return await anyio.to_thread.run_sync(self._port.command, name, args, author)

    async def renew(self) -> str | None:
        """Renew the operator's deadline; None, or why the guard could not be told."""
        try:
            await anyio.to_thread.run_sync(self._port.renew)
        except RobotRLError as error:
            log.warning("the operator's heartbeat did not reach the guard: %s", error)
            return str(error)
        return None
