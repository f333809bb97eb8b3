"""The console's HTTP service: the page, its two websockets, and the same commands for scripts.

Everything is served from this origin, nothing is compressed, and nothing long-lived goes over HTTP: six open streams to
one origin block a browser's next POST for seconds, and that POST may be a STOP.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

from anyio import to_thread
from fastapi import FastAPI, Request, WebSocket
from fastapi import Path as InPath
from fastapi.responses import FileResponse, JSONResponse, Response
from fastapi.staticfiles import StaticFiles

from robot_rl.console.again import Recordings, offer
from robot_rl.console.commands import ARGUMENTS, TAKE_OVER, Commands
from robot_rl.console.lease import Lease, NotInCharge
from robot_rl.console.messages import compose, parse, read
from robot_rl.console.port import LISTS, OperatorPort
from robot_rl.console.refusals import http_status
from robot_rl.console.security import Door, Gate
from robot_rl.console.sockets import ControlSocket, serve_camera
from robot_rl.console.watcher import Watcher
from robot_rl.console.word import GuardFirst
from robot_rl.errors import RobotRLError

WEB = Path(__file__).parent / "web"
SCRIPT = "script"
"""Author of what comes by POST."""
BY_POST = {name: arguments for name, arguments in ARGUMENTS.items() if name != TAKE_OVER}
"""A script takes nothing over (`lease`)."""
BODY = {"anyOf": [{**arguments.model_json_schema(), "title": name} for name, arguments in BY_POST.items()]}
DESCRIBED = """
Everything that the operator's page does. Answers are JSON; what is refused says why in `detail`.

**Who may call.** Every call carries one of the service's own names as Host, and every POST the page's Origin (a script
sets that header itself); else 403. Where a one-time link is needed (`robot-rl console --url`), every call carries the
cookie that opening the link answers with; else 401.

**Who is in charge.** While a page is in charge, what a script posts is refused with 409; only STOP always works. While
no page is, it is carried out as that of a page, with `script` as its author; but it renews no deadline, so that a robot
which nobody watches holds. A script that wants to be in charge connects to the websocket `/ws/control` as the page
does: messages `{"type": "beat", "t": ms}` every 100 ms, and `{"type": "command", "id", "name", "args"}`, with the
names and arguments of below and `take_over`.
"""
REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"description": what, "content": {"application/json": {"schema": {
        "type": "object", "properties": {"detail": {"type": "string"}}, "required": ["detail"]}}}}
    for status, what in {
        401: "No pass: where a one-time link is needed",
        403: "Wrong Host or Origin",
        404: "There is none of that name or number; it says the nearest",
        409: "Not in the present state, not after what others have said, or not while a page is in charge",
        413: "More than any command needs",
        422: "Not the arguments of this command",
        500: "The other side failed, and says how",
        503: "The actor or the guard does not answer in time",
    }.items()
}  # fmt: skip


def create_app(port: OperatorPort, door: Door, recordings: Recordings | None = None) -> FastAPI:
    """The service in front of `port`, open to whom `door` lets in; `recordings`: what can be looked at again."""
    port = GuardFirst(port)
    commands, watcher, lease = Commands(port), Watcher(port), Lease()

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        polling = asyncio.create_task(watcher.run())
        yield
        polling.cancel()

    app = FastAPI(title="robot_rl operator console", description=DESCRIBED, lifespan=lifespan, docs_url=None,
                  redoc_url=None, openapi_url="/api/openapi.json")  # fmt: skip
    app.add_middleware(Gate, door=door)

    @app.exception_handler(RobotRLError)
    async def refuse(_: Request, error: RobotRLError) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, status_code=http_status(error))

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(WEB / "index.html")

    @app.get("/api/snapshot", responses=refusals(401, 403, 500, 503))
    async def snapshot(lists: str | None = None) -> Response:
        """The state that the page shows.

        Whoever asks often says in `lists` what the last answer had under that name: what grows with the run, `episodes`
        and `curve`, is left out while it is the same.
        """
        state = await to_thread.run_sync(port.snapshot)
        if lists is not None and lists == state["lists"]:
            state = {name: value for name, value in state.items() if name not in LISTS}
        return Response(compose(state), media_type="application/json")

    @app.post("/api/stop", responses=refusals(401, 403, 500, 503))
    @app.post("/api/command/stop", include_in_schema=False)
    async def stop() -> dict[str, Any]:
        """Stop the robot, whoever is in charge and whatever the body is.

        Answers with the guard's safety state once it is latched. Not a safety function.
        """
        return await commands.perform("stop", {}, SCRIPT)

    @app.post("/api/command/{name}", responses=refusals(*REFUSALS), openapi_extra=a_body(BODY))
    async def command(
        name: Annotated[str, InPath(json_schema_extra={"enum": [*BY_POST]})], request: Request
    ) -> dict[str, Any]:
        """Give the session one command, if no page is in charge; STOP always.

        The body is a JSON object with the command's arguments, or empty.
        """
        if name == TAKE_OVER:
            raise NotInCharge(
                "only a page takes over: to be in charge, a script connects to /ws/control as a page does"
            )
        args = parse(await read(request.stream()) or b"{}")
        lease.admit_script()
        result = await commands.perform(name, args, SCRIPT)
        await watcher.refresh()
        return result

    @app.websocket("/ws/control")
    async def control(socket: WebSocket) -> None:
        await ControlSocket(socket, commands, watcher, lease).run()

    @app.websocket("/ws/cam/{name}")
    async def camera(socket: WebSocket, name: str) -> None:
        await serve_camera(socket, port, name)

    offer(app, recordings)
    app.mount("/web", StaticFiles(directory=WEB), name="web")
    return app


def refusals(*statuses: int | str) -> dict[int | str, dict[str, Any]]:
    """How a route documents what it refuses with."""
    return {status: REFUSALS[status] for status in statuses}


def a_body(schema: dict[str, Any]) -> dict[str, Any]:
    """How a route documents a body that it reads by itself."""
    return {"requestBody": {"required": False, "content": {"application/json": {"schema": schema}}}}
