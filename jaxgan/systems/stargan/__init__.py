"""Edits of images: one generator for all classes of all attributes."""
