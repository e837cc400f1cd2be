"""Flax modules, one file a family."""
