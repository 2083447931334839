"""Parts of the delivery benchmark: what publishes, what works, and what runs them beside each other."""
