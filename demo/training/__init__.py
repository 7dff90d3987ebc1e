"""Training of the demo model: a run's machinery, the autoencoder, looks, the U-Net with its text encoder, measures."""
