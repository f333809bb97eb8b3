"""`robot-rl replay`: an episode as a page in the browser, until Ctrl-C."""

from __future__ import annotations

import contextlib
from pathlib import Path

from rich.console import Console

from robot_rl.console.__main__ import server_of
from robot_rl.console.recording import load_recording
from robot_rl.console.replay import create_replay
from robot_rl.console.security import bind_loopback, loopback_door
from robot_rl.errors import StoreError
from robot_rl.store.run import RunDirectory
from robot_rl.store.training import labels_of


def replay(folder: Path, port: int, console: Console) -> None:
    """Serve the page on this machine's loopback. Raises `StoreError` for what is no episode of a run."""
    recording = load_recording(folder, _label(folder))
    listener = bind_loopback("127.0.0.1", port)
    number = listener.getsockname()[1]
    console.print(f"episode {recording.view['episode']}: http://localhost:{number}/ until Ctrl-C")
    with listener, contextlib.suppress(KeyboardInterrupt):  # uvicorn has shut down in order and raises it once more
        server_of(create_replay(recording, loopback_door(number))).run(sockets=[listener])


def _label(folder: Path) -> str | None:
    """What the run's log says of the episode now."""
    if not folder.name.isdigit():
        raise StoreError(f"{folder}: expected a closed episode's directory, RUN/episodes/000012")
    event = labels_of(RunDirectory.look(folder.absolute().parent.parent)).get(int(folder.name))
    return event.label.value.value if event else None
