"""Frozen policies by parts: what is seen (state or pictures), what draws chunks (flow, diffusion, bins), which head."""
