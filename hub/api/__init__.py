"""The HTTP server: chat, search, history, keys, health and metrics."""
