"""This installation's folder of secrets, `~/.config/robot_rl`: the page's key, links and passes, which consoles run."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from robot_rl.errors import ConfigError


def installation() -> Path:
    """The folder, `$XDG_CONFIG_HOME/robot_rl` where that is set; `private` makes it."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config").absolute() / "robot_rl"


def private(folder: Path) -> Path:
    """`folder`, made if it is not there, entered by its owner alone. Raises `ConfigError`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
    except OSError as error:
        raise ConfigError(
            f"cannot make {folder}: {error.strerror or error}; XDG_CONFIG_HOME says where else it may be"
        ) from error
    return folder


@contextlib.contextmanager
def listed(folder: Path, url: str) -> Iterator[None]:
    """While entered, `running_consoles(folder)` has `url`; after a kill too it is gone, with the lock on its file."""
    place, name = private(folder / "consoles"), secrets.token_hex(8)
    new, path = place / f"{name}.new", place / f"{name}.url"
    with new.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # under its name it has always been locked
        file.write(url)
        file.flush()
        new.replace(path)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def running_consoles(folder: Path) -> list[str]:
    """Addresses of the consoles that are `listed` now; what killed ones left is removed."""
    urls = []
    for path in sorted((folder / "consoles").glob("*.url")):
        with contextlib.suppress(OSError), path.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                path.unlink(missing_ok=True)  # nobody holds it
            except BlockingIOError:
                urls.append(file.read())
    return urls
