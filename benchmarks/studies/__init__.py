"""The papers' own points on problems that take minutes: `python -m benchmarks.studies NAME`."""
