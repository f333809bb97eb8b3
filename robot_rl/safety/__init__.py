"""The last authority over the robot: limits, the filter's pure functions, the supervisor's states, and the guard."""
