"""The console's HTTP service: the page, its two websockets, and the same commands for scripts.

Everything is served from this origin, nothing is compressed, and nothing long-lived goes over HTTP: six open streams to
one origin block a browser's next POST for seconds, and that POST may be a STOP.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from anyio import to_thread
from fastapi import FastAPI, Request, WebSocket
from fastapi.responses import FileResponse, JSONResponse
from fastapi.staticfiles import StaticFiles

from robot_rl.console.commands import Commands
from robot_rl.console.messages import finite, parse, read
from robot_rl.console.port import OperatorPort
from robot_rl.console.refusals import http_status
from robot_rl.console.security import OriginGate
from robot_rl.console.sockets import ControlSocket, serve_camera
from robot_rl.console.watcher import Watcher
from robot_rl.console.word import GuardFirst
from robot_rl.errors import RobotRLError

WEB = Path(__file__).parent / "web"
SCRIPT = "script"
"""Author of what comes by POST."""
AN_OBJECT = {"requestBody": {"content": {"application/json": {"schema": {"type": "object"}}}}}


def create_app(port: OperatorPort, hosts: frozenset[str]) -> FastAPI:
    """The service in front of `port`; `hosts` are the Host headers it answers to (`security.authorities`)."""
    port = GuardFirst(port)
    commands, watcher = Commands(port), Watcher(port)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        polling = asyncio.create_task(watcher.run())
        yield
        polling.cancel()

    app = FastAPI(title="robot_rl operator console", lifespan=lifespan, docs_url=None, redoc_url=None,
                  openapi_url="/api/openapi.json")  # fmt: skip
    app.add_middleware(OriginGate, hosts=hosts)

    @app.exception_handler(RobotRLError)
    async def refuse(_: Request, error: RobotRLError) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, status_code=http_status(error))

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(WEB / "index.html")

    @app.get("/api/snapshot")
    async def snapshot() -> dict[str, Any]:
        """The whole state that the page shows."""
        state: dict[str, Any] = finite(await to_thread.run_sync(port.snapshot))
        return state

    @app.post("/api/stop")
    @app.post("/api/command/stop", include_in_schema=False)
    async def stop() -> dict[str, Any]:
        """Stop the robot, whatever the body is; answers with the guard's safety state once it is latched.

        Not a safety function.
        """
        return await commands.perform("stop", {}, SCRIPT)

    @app.post("/api/command/{name}", openapi_extra=AN_OBJECT)
    async def command(name: str, request: Request) -> dict[str, Any]:
        """arm, run, pause, end, label, undo, reset_done, clear or stop; 409 if the present state does not allow it."""
        args = parse(await read(request.stream()) or b"{}")
        result = await commands.perform(name, args, SCRIPT)
        await watcher.refresh()
        return result

    @app.websocket("/ws/control")
    async def control(socket: WebSocket) -> None:
        await ControlSocket(socket, commands, watcher).run()

    @app.websocket("/ws/cam/{name}")
    async def camera(socket: WebSocket, name: str) -> None:
        await serve_camera(socket, port, name)

    app.mount("/web", StaticFiles(directory=WEB), name="web")
    return app
