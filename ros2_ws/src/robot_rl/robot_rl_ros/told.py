"""Where the session stands, said whenever it has changed: as JSON in a String, and as robot_rl_msgs/EpisodeState."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from robot_rl.control.actor import Actor
from robot_rl_ros.health import Health, Level, actor_health
from robot_rl_ros.own import EPISODE_STATE, Own
from robot_rl_ros.topics import Streams

TAKE_OVER = "take_over"
"""A page's alone: another one is in charge from then on."""


@dataclass
class SessionTold:
    """To be called with the actor between any two control steps; both topics are latched."""

    streams: Streams
    own: Own
    _revision: int = field(default=0, repr=False)
    _said: tuple[str, str, int] | None = field(default=None, repr=False)

    def __call__(self, actor: Actor) -> None:
        session = actor.session
        if self._revision == session.revision:
            return
        self._revision, now = session.revision, session.now
        self._said = now.state.value, now.why, now.episode
        self.streams.say("/state", {"state": now.state.value, "why": now.why, "episode": now.episode})
        self.own.say(
            EPISODE_STATE,
            state=now.state.value,
            why=now.why,
            episode=now.episode,
            episodes_planned=session.planned,
            allowed=[name for name, refusal in session.allowed().items() if refusal is None and name != TAKE_OVER],
        )

    def health(self, verdicts: Mapping[str, int]) -> Health:
        """Of the actor, by what was said last. From any thread."""
        said = self._said
        return Health(Level.STALE, "starting", {}) if said is None else actor_health(*said, verdicts)
