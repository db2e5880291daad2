"""Published pickle files into safetensors, in a confined child process."""
