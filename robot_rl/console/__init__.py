"""The operator's console: a FastAPI service in front of an `OperatorPort`, and the page it serves.

One operator supervises one robot: labels, resets, corrections and STOP go in; state, cameras and curves come out. The
service holds no state of its own: the actor owns the session, the guard owns the latch. It can be killed and started
again at any time; while it is gone nobody renews the guard's operator deadline, and the robot holds.
"""
