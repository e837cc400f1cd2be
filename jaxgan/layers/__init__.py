"""Layers that several systems use: matrix products and convolutions."""
