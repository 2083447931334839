"""The web channel: the chat widget, the page that shows it, and the WebSocket both speak."""
