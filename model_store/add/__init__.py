"""An operator's own checkpoints, LoRAs, adapters and styles, checked and put into the store."""
