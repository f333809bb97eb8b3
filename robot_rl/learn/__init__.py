"""Learning from labelled episodes: networks, replay, the actor-critic core, the learner and its process (torch)."""
