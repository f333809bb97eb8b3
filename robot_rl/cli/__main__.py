"""`python -m robot_rl.cli`: the same as `robot-rl`."""

from robot_rl.cli import main

main()
