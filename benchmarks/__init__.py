"""What is measured: speed and memory beside the plain formula, and how training starts."""
