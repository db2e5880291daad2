"""Techniques whose image encoder adds the style to cross-attention."""
