"""Scripted experts for environments that bring none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import networkx as nx
import numpy as np

from benchmarks.gym.tasks import Expert
from robot_rl.types import Array


def rock(env: gymnasium.Env[Any, Any]) -> Expert:
    """Of MountainCarContinuous-v0: push with the motion, always."""
    return lambda observation: np.array([0.6 if observation[1] >= 0 else -0.6])


GAIN = 10.0
"""1 / m: an action of 1 asks the Fetch's hand to move by 50 mm."""
NEAR, ABOVE, HELD = 0.02, 0.08, 0.055
"""m: from the block to a hand that closes, or from its place to one that goes down; how far above the block the hand
comes; and between fingers that have the block of 50 mm."""
PULL = 10.0
"""Of the point's force, in the maze's units: on the next cell, beside a brake of 1 on its speed."""
BEHIND, TOUCHING, LOW = 0.075, 0.045, 0.03
"""m, from the block's middle to the hand's: where a push begins; while it lasts; how high the hand may be for it."""


def pick_and_place(env: gymnasium.Env[Any, Any]) -> Expert:
    """Of gymnasium-robotics' FetchPickAndPlace: over the block, down, close, and to the goal."""

    def act(observation: Array) -> Array:
        goal, hand, block = observation[3:6], observation[6:9], observation[9:12]
        offset, fingers = block - hand, observation[15:17].sum()
        if np.linalg.norm(offset) < NEAR:
            return _towards(goal - hand if fingers < HELD else 0.0 * hand, grip=-1.0)
        if np.linalg.norm(offset[:2]) > NEAR:
            offset = offset + np.array([0.0, 0.0, ABOVE])
        return _towards(offset, grip=1.0)

    return act


def push(env: gymnasium.Env[Any, Any]) -> Expert:
    """Of gymnasium-robotics' FetchPush: above the place behind the block, down, and with the block to the goal."""

    def act(observation: Array) -> Array:
        goal, hand, block = observation[3:6], observation[6:9], observation[9:12]
        way = (goal - block) * [1.0, 1.0, 0.0]
        way /= max(float(np.linalg.norm(way)), 1e-6)
        ahead = float((block - hand) @ way)
        beside = np.linalg.norm((block - hand - ahead * way)[:2])
        low, offset = hand[2] < block[2] + LOW, block - BEHIND * way - hand
        if low and beside < NEAR and ahead > LOW:
            offset = goal - TOUCHING * way - hand
            offset[2] = block[2] - hand[2]
        elif np.linalg.norm(offset[:2]) > NEAR:
            offset[2] += ABOVE
            if low:  # up first: the block may be in the way
                offset[:2] = 0.0
        return _towards(offset, grip=-1.0)

    return act


def through_the_maze(env: gymnasium.Env[Any, Any]) -> Expert:
    """Of gymnasium-robotics' PointMaze: from one cell to the next of a shortest way, braking on it."""
    maze = env.unwrapped.maze  # type: ignore[attr-defined]  # of PointMaze alone, not of every environment
    graph = cells_of(maze.maze_map)

    def act(observation: Array) -> Array:
        goal, place, speed = observation[2:4], observation[4:6], observation[6:8]
        here, there = (tuple(maze.cell_xy_to_rowcol(xy)) for xy in (place, goal))
        following = next_cell(graph, here, there)
        ahead = goal if following is None else maze.cell_rowcol_to_xy(np.array(following))
        return np.clip(PULL * (ahead - place) - speed, -1.0, 1.0)

    return act


def cells_of(maze_map: Sequence[Sequence[Any]]) -> nx.DiGraph:
    """(row, column) of what is no wall (1), and from each to those beside it: down, up, right, left."""
    free = {(row, column) for row, cells in enumerate(maze_map) for column, cell in enumerate(cells) if cell != 1}
    graph = nx.DiGraph()
    graph.add_nodes_from(sorted(free))
    for row, column in sorted(free):
        beside = ((row + 1, column), (row - 1, column), (row, column + 1), (row, column - 1))
        graph.add_edges_from(((row, column), cell) for cell in beside if cell in free)
    return graph


def next_cell(graph: nx.DiGraph, here: tuple[int, int], there: tuple[int, int]) -> tuple[int, int] | None:
    """The next one of a shortest way; None where there is none, or it ends here."""
    return dict(nx.bfs_predecessors(graph, there)).get(here)


def _towards(offset: Array, grip: float) -> Array:
    """A step of the hand by `offset` m, as far as it may."""
    return np.clip(np.append(GAIN * offset, grip), -1.0, 1.0)
