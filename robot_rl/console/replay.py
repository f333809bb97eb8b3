"""The page of one recorded episode, as a service of its own; read-only."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Response
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles

from robot_rl.console.app import WEB
from robot_rl.console.recording import Recording, picture
from robot_rl.console.security import Door, Gate


def create_replay(recording: Recording, door: Door) -> FastAPI:
    """The service of one episode's page."""
    app = FastAPI(title="robot_rl replay", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(Gate, door=door)

    @app.get("/")
    async def page() -> FileResponse:
        return FileResponse(WEB / "replay.html")

    @app.get("/api/episode")
    async def episode() -> dict[str, Any]:
        return recording.view

    @app.get("/api/frame/{camera}/{number}")
    async def frame(camera: str, number: int) -> Response:
        return picture(recording, camera, number)

    app.mount("/web", StaticFiles(directory=WEB), name="web")
    return app
