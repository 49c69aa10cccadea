"""Nouns that cross stages, and nothing else."""
