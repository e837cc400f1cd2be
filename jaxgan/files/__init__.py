"""Files: written whole or not at all, read within bounds, locked; weights that may be hostile."""
