"""A twin's cell that lives behind the guard, in its process: the calls that the guard serves, and who calls them.

They touch the robot's simulation, so the guard does them between two control periods (`serve_guard`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from robot_rl.services.guard import GuardClient
from robot_rl.twins import Cell
from robot_rl.types import Array
from robot_rl.wire.rpc import Reply
from robot_rl.wire.schemas import from_plain, to_plain
from robot_rl.wire.values import Header


@dataclass(frozen=True)
class Judgement:
    """A `Truth` as it travels."""

    success: bool
    failed: bool


def cell_handlers(cell: Cell) -> dict[str, Callable[[Header, list[Array]], Reply]]:
    """`reset` and `free` {episode}, `truth` and `camera_process`."""

    def reset(header: Header, arrays: list[Array]) -> Reply:
        cell.reset(from_plain(int, header.get("episode"), ()))
        return {}, ()

    def free(header: Header, arrays: list[Array]) -> Reply:
        cell.free(from_plain(int, header.get("episode"), ()))
        return {}, ()

    def truth(header: Header, arrays: list[Array]) -> Reply:
        seen = cell.truth()
        return {"truth": to_plain(Judgement(seen.success, seen.failed), [])}, ()

    def camera_process(header: Header, arrays: list[Array]) -> Reply:
        return {"module": cell.twin.camera_process}, ()

    return {"reset": reset, "free": free, "truth": truth, "camera_process": camera_process}


@dataclass(frozen=True)
class RemoteCell:
    """Implements `Twin` through the guard; a guard in front of anything but a twin does not know these calls."""

    guard: GuardClient
    is_twin: bool = True

    def reset(self, episode: int) -> None:
        """Put the objects where `episode` begins; the arm stays where it is."""
        self.guard.call("reset", {"episode": episode})

    def free(self, episode: int) -> None:
        """Everything anew as at the beginning of `episode`, the arm included."""
        self.guard.call("free", {"episode": episode})

    def truth(self) -> Judgement:
        header, _ = self.guard.call("truth", {})
        return from_plain(Judgement, header.get("truth"), ())

    @property
    def camera_process(self) -> str:
        """Module of the process that draws what the twin's cameras see."""
        header, _ = self.guard.call("camera_process", {})
        return from_plain(str, header.get("module"), ())
