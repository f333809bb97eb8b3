"""The methods on environments that nobody here wrote: `python -m benchmarks.gym --env ID --method M --seeds N`."""
