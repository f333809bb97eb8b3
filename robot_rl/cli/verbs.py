"""`robot-rl <verb>`: the commands of a person; each prints its results as a table and leaves them as files."""

from __future__ import annotations

import errno
import sys

from rich.markup import escape

from robot_rl.cli import acting, judging, recorded, surroundings  # noqa: F401 - they hang their verbs on `app`
from robot_rl.cli.app import app, console
from robot_rl.errors import RobotRLError

FULL = (errno.ENOSPC, errno.EDQUOT)
"""No space, or none that this user may have."""
REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)
"""The system does not let this user, or nobody."""


def run_app() -> None:
    """What goes wrong on purpose is one line, without a traceback, and exit status 2."""
    try:
        app()
    except RobotRLError as error:
        console.print(f"[red]error:[/red] {escape(str(error))}", soft_wrap=True)
        sys.exit(2)
    except OSError as error:
        if error.errno in FULL:
            words = f"the disk is full: {error}; what was written before is intact. Free space, then go on (--resume)"
        elif error.errno in REFUSED and error.filename is not None:
            words = f"{error.filename}: {error.strerror}; expected a place that this user may read and write"
        else:
            raise
        console.print(f"[red]error:[/red] {escape(words)}", soft_wrap=True)
        sys.exit(2)
