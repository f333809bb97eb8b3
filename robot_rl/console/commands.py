"""The operator's commands: their arguments, checked before they travel, and the threads that they wait on."""

from __future__ import annotations

import logging
from typing import Annotated, Any

import anyio
import anyio.to_thread
from pydantic import BaseModel, ConfigDict, Field, ValidationError, WithJsonSchema

from robot_rl.console.messages import finite
from robot_rl.console.port import OperatorPort
from robot_rl.console.refusals import BadMessage, UnknownName
from robot_rl.control.progress import PAGE
from robot_rl.errors import RobotRLError, nearest
from robot_rl.types import LabelValue

log = logging.getLogger(__name__)

TAKE_OVER = "take_over"
"""A page's alone: the one that gives it is in charge from then on (`lease`), and the session pauses."""

Episode = Annotated[int, Field(strict=True, ge=1, lt=2**63)]
Revision = Annotated[int, Field(strict=True, ge=0, lt=2**63)]


class NoArguments(BaseModel):
    """`{}`"""

    model_config = ConfigDict(extra="forbid")


class LabelArguments(NoArguments):
    """One 0/1 (or discard) for one episode; with `expected_revision` it is a correction of what the page showed."""

    episode: Episode
    value: Annotated[LabelValue, WithJsonSchema({"enum": [value.value for value in LabelValue]})]
    event_id: str = Field(min_length=1, max_length=64)
    expected_revision: Revision | None = None


class UndoArguments(NoArguments):
    """Give an episode the label it had before its newest one."""

    episode: Episode


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
    TAKE_OVER: NoArguments,
}


def checked(name: str, args: dict[str, Any]) -> dict[str, Any]:
    """`args` as the port takes them. Raises `UnknownName` or `BadMessage`."""
    if name not in ARGUMENTS:
        raise UnknownName(f"no command {name[:64]!r}{nearest(name[:64], ARGUMENTS)}")
    try:
        model = ARGUMENTS[name].model_validate(args)
    except ValidationError as error:
        places = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'arguments'}: {e['msg']}" for e in error.errors())
        raise BadMessage(f"command {name!r}: {places}") from error
    return model.model_dump(mode="json", exclude_none=True)


class Commands:
    """Runs the port's blocking calls on threads, STOP on threads of its own so that nothing can be ahead of it."""

    def __init__(self, port: OperatorPort) -> None:
        self._port = port
        self._stop_threads = anyio.CapacityLimiter(8)

    async def perform(self, name: str, args: dict[str, Any], author: str) -> dict[str, Any]:
        """Check and carry out one command; a STOP is not refused for its arguments.

        Raises the port's errors, `UnknownName` and `BadMessage`.
        """
        try:
            if name == "stop":
                return await anyio.to_thread.run_sync(self._port.stop, author, limiter=self._stop_threads)
            result = await anyio.to_thread.run_sync(self._port.command, name, checked(name, args), author)
        except RobotRLError:
            raise
        except Exception as error:  # one command that fails must not end the connection that carries the heartbeat
            log.exception("the command %r failed", name)
            raise RobotRLError(f"the console failed ({type(error).__name__}); its log says more") from error
        answer: dict[str, Any] = finite(result)
        return answer

    async def hand_over(self) -> bool:
        """What a person supervises is paused, for the page that has just come to be in charge; False: not yet.

        Else it would move again with that page's first heartbeat, and nobody has looked. What a twin labels by itself
        needs nobody.
        """
        try:
            if not (await anyio.to_thread.run_sync(self._port.snapshot))["auto_label"]:
                await self.perform(TAKE_OVER, {}, PAGE)
        except RobotRLError as error:
            log.warning("a page is in charge, and nothing may move before it has been paused: %s", error)
            return False
        except Exception:  # whatever an actor of another version says: its page's connection goes on
            log.exception("a page is in charge, and nothing may move before it has been paused")
            return False
        return True

    async def renew(self) -> str | None:
        """Renew the operator's deadline; None, or why the guard could not be told."""
        try:
            await anyio.to_thread.run_sync(self._port.renew)
        except RobotRLError as error:
            log.warning("the operator's heartbeat did not reach the guard: %s", error)
            return str(error)
        return None
