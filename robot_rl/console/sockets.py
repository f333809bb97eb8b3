"""The two websockets of the page.

Control: text. From the page `{"type": "beat", "t"}` every 100 ms and `{"type": "command", "id", "name", "args"}`; to
the page `lease` (whose it is, at once and when that changes), `beat` (with `guard`: None or why it could not be told),
`ack` (by id), `snapshot` or `lost`, and `error` for what is no message. A snapshot leaves its lists out where they are
those of the one before (`port.LISTS`). An ack comes after the snapshot that already shows its effect; that of STOP
comes at once, with the guard's own word, and no snapshot after it is older. What is refused has the status that it has
by POST (`refusals`). One page is in charge (`lease`): the commands of the others are refused but for STOP and
`take_over`, and their beats renew nothing. `?watch` asks for no lease.

Camera: the page sends any text as a credit for one frame; the answer is one binary message, two little-endian
float64 (sequence, age in ms) and the JPEG. A viewer that is slow gets fewer frames, never older ones.
"""

from __future__ import annotations

import struct
from typing import Annotated, Any, Literal

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup
from pydantic import BaseModel, Field, TypeAdapter, ValidationError
from starlette.websockets import WebSocket, WebSocketDisconnect

from robot_rl.console.commands import TAKE_OVER, Commands
from robot_rl.console.lease import Lease
from robot_rl.console.messages import compose, parse
from robot_rl.console.port import OperatorPort
from robot_rl.console.refusals import BadMessage, UnknownName, http_status
from robot_rl.console.watcher import PERIOD_S, Watcher
from robot_rl.control.progress import PAGE
from robot_rl.errors import RobotRLError, nearest

FRAME_POLL_S = 0.008
AGAIN_S = 0.2
"""Until it is tried again to pause what moves."""
REFUSED, REASON_BYTES = 4000, 123
"""What a status is added to for the code with which a websocket is closed; what its reason may weigh (RFC 6455)."""
FRAME_HEADER = struct.Struct("<dd")


class Beat(BaseModel):
    """The page's main thread is alive; `t` is echoed, for the round trip."""

    type: Literal["beat"]
    t: float


class CommandMessage(BaseModel):
    """One command, acknowledged by `id`."""

    type: Literal["command"]
    id: str = Field(min_length=1, max_length=64)
    name: str = Field(max_length=64)
    args: dict[str, Any] = {}


FROM_PAGE: TypeAdapter[Beat | CommandMessage] = TypeAdapter(
    Annotated[Beat | CommandMessage, Field(discriminator="type")]
)


def parsed(text: str) -> Beat | CommandMessage:
    """A message of the page. Raises `BadMessage`."""
    try:
        return FROM_PAGE.validate_python(parse(text))
    except ValidationError as error:
        raise BadMessage(f"not a message of this protocol: {error.errors()[0]['msg']}") from error


class ControlSocket:
    """One page's control connection."""

    def __init__(self, socket: WebSocket, commands: Commands, watcher: Watcher, lease: Lease) -> None:
        self._socket = socket
        self._lease = lease
        self._commands = commands
        self._watcher = watcher
        self._sending = anyio.Lock()
        self._shown = 0
        self._listed = 0
        self._stops = 0
        """Acknowledged, and not followed by a snapshot that is sure to know of it."""
        self._renewing = False
        self._handed_over = anyio.Event()
        """Nothing moves for this page before."""

    async def run(self) -> None:
        """Serve until the page leaves."""
        await self._socket.accept()
        offered = "watch" not in self._socket.query_params and self._lease.offer(self)
        try:
            with self._watcher.viewer():
                await self._watcher.refresh()
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._push_lease)
                    tasks.start_soon(self._push)
                    if offered:
                        tasks.start_soon(self._hand_over)
                    await self._read(tasks)
                    self._lease.leave(self)  # at once: a command that hangs outlives its page
                    tasks.cancel_scope.cancel()
        finally:
            self._lease.leave(self)

    async def _read(self, tasks: TaskGroup) -> None:
        while True:
            try:
                text = await self._socket.receive_text()
            except (WebSocketDisconnect, KeyError):  # KeyError: a binary message, which nobody of ours sends
                return
            try:
                message = parsed(text)
            except BadMessage as error:
                await self._send({"type": "error", "status": http_status(error), "detail": str(error)})
                continue
            if isinstance(message, Beat):
                tasks.start_soon(self._beat, message)
            else:
                tasks.start_soon(self._command, message)

    async def _hand_over(self) -> None:
        while not await self._commands.hand_over():
            await anyio.sleep(AGAIN_S)
        self._handed_over.set()

    async def _beat(self, beat: Beat) -> None:
        if self._lease.standing(self) != "yours" or not self._handed_over.is_set():  # it keeps no robot moving
            return await self._send({"type": "beat", "t": beat.t, "guard": None})
        if self._renewing:  # a slow guard: later beats do not queue behind it, and the page sees none come back
            return None
        self._renewing = True
        try:
            refused = await self._commands.renew()
        finally:
            self._renewing = False
        return await self._send({"type": "beat", "t": beat.t, "guard": refused})

    async def _command(self, message: CommandMessage) -> None:
        ack: dict[str, Any]
        try:
            if message.name == TAKE_OVER:
                result = await self._take_over(message)
            else:
                if message.name != "stop":
                    self._lease.require(self)
                    await self._handed_over.wait()
                    self._lease.require(self)
                result = await self._commands.perform(message.name, message.args, PAGE)
            ack = {"type": "ack", "id": message.id, "ok": True, "result": result}
        except RobotRLError as error:
            ack = {"type": "ack", "id": message.id, "ok": False, "status": http_status(error), "detail": str(error)}
        if message.name == "stop":
            self._stops += 1
            await self._send(ack)
            await self._watcher.refresh()
            self._stops -= 1
            await self._show()
        else:
            await self._watcher.refresh()
            await self._show()
            await self._send(ack)

    async def _take_over(self, message: CommandMessage) -> dict[str, Any]:
        """The other page commands nothing from here on; if what moves cannot be paused, nobody is in charge."""
        self._handed_over = anyio.Event()
        self._lease.take(self)
        try:
            result = await self._commands.perform(message.name, message.args, PAGE)
        except RobotRLError:
            self._lease.leave(self)
            raise
        self._handed_over.set()
        return result

    async def _push(self) -> None:
        while True:
            await self._watcher.newer_than(self._shown)
            await self._show()
            await anyio.sleep(PERIOD_S)

    async def _push_lease(self) -> None:
        while True:
            change = self._lease.change  # before the present standing is sent: no later one is missed
            await self._send({"type": "lease", "lease": self._lease.standing(self)})
            await change.wait()

    async def _show(self) -> None:
        if self._shown < self._watcher.version and not self._stops:
            self._shown = self._watcher.version
            text, self._listed = self._watcher.message(self._listed)
            await self._send_text(text)

    async def _send(self, message: dict[str, Any]) -> None:
        await self._send_text(compose(message))

    async def _send_text(self, text: str) -> None:
        async with self._sending:
            try:
                await self._socket.send_text(text)
            except (WebSocketDisconnect, RuntimeError):
                return  # the page left; `_read` ends the connection


def find_camera(port: OperatorPort, camera: str) -> None:
    """Raises `UnknownName` if there is no such camera, and what `port.snapshot` raises when nobody can say."""
    if port.frame(camera) is None and camera not in (known := port.snapshot()["cameras"]):
        raise UnknownName(f"no camera {camera[:16]!r}{nearest(camera[:16], known)}")


async def serve_camera(socket: WebSocket, port: OperatorPort, camera: str) -> None:
    """Send the newest frame of `camera` for each credit, until the viewer leaves.

    A camera that cannot be found is refused: the socket is closed, with the reason.
    """
    await socket.accept()  # a browser learns no reason of one that never opened
    try:
        await anyio.to_thread.run_sync(find_camera, port, camera)
    except RobotRLError as error:
        reason = str(error).encode()[:REASON_BYTES].decode(errors="ignore")
        return await socket.close(REFUSED + http_status(error), reason)
    credit = anyio.Event()

    async def read_credits() -> None:
        nonlocal credit
        while (await socket.receive())["type"] != "websocket.disconnect":
            credit.set()
        tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read_credits)
        shown: int | None = None
        while True:
            await credit.wait()
            frame = port.frame(camera)
            if frame is None or frame.seq == shown:
                await anyio.sleep(FRAME_POLL_S)
                continue
            shown, credit = frame.seq, anyio.Event()
            try:
                await socket.send_bytes(FRAME_HEADER.pack(frame.seq, frame.age_ms) + frame.jpeg)
            except (WebSocketDisconnect, RuntimeError):
                return tasks.cancel_scope.cancel()
