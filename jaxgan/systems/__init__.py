"""A folder a system: its networks, losses and settings, and a README of its own."""
