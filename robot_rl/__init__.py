"""robot_rl: a service that makes a frozen robot policy succeed, from one 0/1 per episode."""

__version__ = "0.1.0"
