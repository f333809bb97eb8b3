"""The episode store: one directory per episode, an append-only label log, and nothing else that has to be saved."""
