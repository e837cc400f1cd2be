"""Images class by class, from large batches and spectrally normalised residual networks."""
