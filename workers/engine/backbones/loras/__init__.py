"""LoRAs of a request: their files, and how a warm model runs with them."""
