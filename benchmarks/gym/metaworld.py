"""Meta-World's environments by name, with their scripted experts; the package need not be here."""

from __future__ import annotations

from typing import Any, cast

import gymnasium

from robot_rl.errors import ConfigError, nearest

PREFIX = "Meta-World/"
"""Of their ids here."""
GOAL = "-goal-observable"


def make(env: str) -> gymnasium.Env[Any, Any]:
    """With its goal in the observation, and another start with every seed. Raises `ConfigError` for an unknown one."""
    try:
        from metaworld.env_dict import ALL_V3_ENVIRONMENTS_GOAL_OBSERVABLE as known  # type: ignore[import-not-found]
    except ImportError as error:
        raise ConfigError(
            f"--env {env}: Meta-World is not here ({error}); it needs an environment of its own, see "
            "`python -m benchmarks.gym --help`"
        ) from error
    name = env.removeprefix(PREFIX)
    if name + GOAL not in known:
        raise ConfigError(f"--env {env}: no such environment{nearest(name, [one.removesuffix(GOAL) for one in known])}")
    return _Seeded(known[name + GOAL]())


def expert(env: str) -> Any:
    """Meta-World's own, for one episode: flat observation -> action."""
    from metaworld.policies import ENV_POLICY_MAP  # type: ignore[import-not-found]

    return ENV_POLICY_MAP[env.removeprefix(PREFIX)]().get_action


class _Seeded(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Meta-World's environments take no seed when they are reset: each start is a function of the seed here."""

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        super().__init__(env)
        self._metaworld = cast(Any, env)
        self._metaworld.seeded_rand_vec, self._metaworld._freeze_rand_vec = True, False

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        if seed is not None:
            self._metaworld.seed(seed)
        return self._metaworld.reset()  # type: ignore[no-any-return]
