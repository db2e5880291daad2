"""`python -m workers.training.style_noise`: the noise statistics and tuned weights of one style."""
