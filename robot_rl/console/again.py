"""A run's recorded episodes beside its page, to be looked at again before or after they are labelled; read-only."""

from __future__ import annotations

import threading
from typing import Annotated, Any

from anyio import to_thread
from fastapi import FastAPI, Path, Response

from robot_rl.console.recording import Recording, load_recording, picture
from robot_rl.console.refusals import NotShown
from robot_rl.errors import NoSuchEpisode, StoreError
from robot_rl.store.run import RunDirectory

Number = Annotated[int, Path(ge=1, lt=10**9)]


class Recordings:
    """Loads episodes of `run` as they are asked for, and keeps the newest one asked for: its pictures, some MB."""

    def __init__(self, run: RunDirectory) -> None:
        self._run = run
        self._lock = threading.Lock()
        self._kept: tuple[int, Recording] | None = None

    def load(self, episode: int) -> Recording:
        """Raises `NoSuchEpisode` for one that is not closed, `NotShown` for one that `load_recording` refuses."""
        with self._lock:
            if self._kept is None or self._kept[0] != episode:
                folder = self._run.episode(episode)
                if not folder.is_dir():
                    raise NoSuchEpisode(f"episode {episode} is not recorded, or not closed yet")
                try:
                    self._kept = episode, load_recording(folder, None)
                except StoreError as error:  # a page need not know where on the machine the run lies
                    raise NotShown(str(error).removeprefix(f"{folder}: ").replace(str(folder), folder.name)) from error
            return self._kept[1]


def offer(app: FastAPI, recordings: Recordings | None) -> None:
    """`/api/episode/{number}` and its frames; without `recordings` there is no episode."""

    async def load(number: int) -> Recording:
        if recordings is None:
            raise NoSuchEpisode("this run records no pictures to look at again")
        return await to_thread.run_sync(recordings.load, number)

    @app.get("/api/episode/{number}", include_in_schema=False)
    async def episode(number: Number) -> dict[str, Any]:
        return (await load(number)).view

    @app.get("/api/episode/{number}/frame/{camera}/{index}", include_in_schema=False)
    async def frame(number: Number, camera: str, index: int) -> Response:
        return picture(await load(number), camera, index)
