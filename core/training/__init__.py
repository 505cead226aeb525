"""The one training loop, its settings, losses and checkpoints; settings and checkpoints know no torch."""
