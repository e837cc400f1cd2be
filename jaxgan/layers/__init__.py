"""Layers that belong to no system: products, convolutions."""
