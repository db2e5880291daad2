"""The engine: batches of requests through the denoising loop on base models that stay loaded."""
