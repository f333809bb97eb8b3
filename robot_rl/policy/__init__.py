"""Frozen policies: what they see, how they are cloned from demonstrations, and the kinds of them."""
