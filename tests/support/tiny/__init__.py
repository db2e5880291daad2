"""The tiny random base models, and a model store that holds them."""
