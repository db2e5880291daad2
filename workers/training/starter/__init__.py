"""The shipped small model: a world of drawn pictures, the training on it, and the judges of its results."""
