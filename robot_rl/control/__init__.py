"""From a frozen policy's chunks to one command per control step, and what the operator sees and may do meanwhile."""
