"""Recorded episodes in the formats of others."""
