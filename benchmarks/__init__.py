"""What measures speed and learning; each benchmark is one command, ends with one line of JSON, and says its spread."""
