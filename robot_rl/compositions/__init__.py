"""Composition roots: they wire the objects of the other packages into a run, an evaluation, or a process of a run."""
