"""The twin with eyes: pictures in what it observes, and demonstrations that hold them."""
