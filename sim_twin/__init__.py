"""The twin: a Franka FR3 in MuJoCo in front of a task, faster than real time; the robot that everybody has."""

import importlib.util

if importlib.util.find_spec("gymnasium") is not None:
    from sim_twin.env import register

    register()
