"""Techniques whose pictures attend to a reference picture."""
