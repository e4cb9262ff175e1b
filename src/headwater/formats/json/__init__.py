"""JSON messages as columns: compiled scanning (`kernels`), and Arrow columns of what was found (`columns`)."""
