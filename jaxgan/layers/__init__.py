"""Layers that several systems use: matrix products, convolutions, batch normalisation."""
