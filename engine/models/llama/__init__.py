"""Models of GGUF files, run in batches by llama.cpp."""
