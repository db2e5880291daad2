"""The base models as published, without their weights: configurations, and names and shapes in the authors' files."""
