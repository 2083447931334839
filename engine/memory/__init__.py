"""What is remembered of a conversation: its window, and the facts a person told."""
