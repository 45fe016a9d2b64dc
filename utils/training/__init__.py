"""The training loop: steps, batches, state and the folder of a run."""
