"""From chunks to commands: the episode loop, the chunk buffer, homing, and the session that an operator sees."""
