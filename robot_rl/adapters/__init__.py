"""Adapters: the small things that learn, one file a method; `acting` and `layout` are all a robot needs (numpy)."""
