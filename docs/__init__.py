"""Pictures of the documentation, and the commands that make them."""
