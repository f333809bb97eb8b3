"""What travels between processes: a msgpack header and raw array frames over ZMQ; never a pickle."""
