"""Which page is in charge: one operator supervises one robot, every other page watches.

The first page to connect is in charge until it leaves; then nobody is, until a person says so on a page, or one
connects that has not been watching. Whichever comes to be in charge lets nothing move before that has been paused
(`sockets`). A page that watches renews no deadline and gives no command, but its STOP is a STOP. A script that posts
holds no lease, for nothing tells when it is gone: it commands while nobody is in charge. One that wants to be in charge
connects as a page does, and renews the deadline.
"""

from __future__ import annotations

import asyncio
from typing import Literal, TypeAlias

from robot_rl.errors import IllegalTransition

Standing: TypeAlias = Literal["yours", "another's", "nobody's"]


class NotInCharge(IllegalTransition):
    """Who is not in charge gives no command but STOP; a page may take over."""


class Lease:
    """Held by one page at a time, whatever object stands for it; for one event loop."""

    def __init__(self) -> None:
        self._holder: object | None = None
        self._changed = asyncio.Event()

    def standing(self, page: object) -> Standing:
        """Whose the lease is, as `page` sees it."""
        return "nobody's" if self._holder is None else "yours" if self._holder is page else "another's"

    def require(self, page: object) -> None:
        """Raises `NotInCharge` unless the lease is held by `page`."""
        if self._holder is not page:
            raise NotInCharge(f"the lease is {self.standing(page)}: this page watches; STOP works, or take over first")

    def admit_script(self) -> None:
        """Raises `NotInCharge` while a page is in charge."""
        if self._holder is not None:
            raise NotInCharge(
                "a page is in charge: by POST only STOP works now; let the page go, or be in charge yourself over "
                "/ws/control, as a page is"
            )

    def offer(self, page: object) -> bool:
        """`page` is in charge if nobody is; whether it is now."""
        if self._holder is None:
            self.take(page)
        return self._holder is page

    def take(self, page: object) -> None:
        """`page` is in charge from now on."""
        self._settle(page)

    def leave(self, page: object) -> None:
        """`page` is gone."""
        if self._holder is page:
            self._settle(None)

    @property
    def change(self) -> asyncio.Event:
        """Set when it is somebody else's than now."""
        return self._changed

    def _settle(self, holder: object | None) -> None:
        self._holder = holder
        self._changed.set()
        self._changed = asyncio.Event()
