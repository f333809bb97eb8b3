"""How a refusal reads to a browser: one status for each class of error, by POST and on the websockets alike."""

from __future__ import annotations

from robot_rl.errors import (
    ConfigError,
    DeadlineMissed,
    IllegalTransition,
    LabelConflict,
    NoSuchEpisode,
    RobotRLError,
    StoreError,
)


class UnknownName(ConfigError):
    """No command or camera is called that; the message names the nearest and all that there are."""


class BadMessage(ConfigError):
    """What came is no JSON, has a number that is not finite, or is not of the form that is taken."""


class TooLarge(BadMessage):
    """More came than any message of this service needs; it was not read to its end."""


class NotShown(StoreError):
    """A closed episode's recording has nothing to show, or cannot be read: says why, and no path outside its folder."""


STATUS: dict[type[RobotRLError], int] = {
    UnknownName: 404,
    TooLarge: 413,
    ConfigError: 422,
    NoSuchEpisode: 404,
    IllegalTransition: 409,
    LabelConflict: 409,
    NotShown: 409,
    DeadlineMissed: 503,
    RobotRLError: 500,
}
"""Class -> HTTP status; a subclass has its nearest ancestor's. 4xx: the caller can mend it; 503: nobody answered in
time; 500: somebody answered that it failed."""


def http_status(error: RobotRLError) -> int:
    """The HTTP status of a refusal; `sockets` closes a websocket with 4000 + it."""
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)
