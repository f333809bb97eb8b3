"""Robots and cameras, one file each; a vendor's SDK is imported in its file and nowhere else."""
