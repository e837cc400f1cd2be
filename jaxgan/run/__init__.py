"""The edge: settings, flags, work dirs, checkpoints, processes, reports."""
