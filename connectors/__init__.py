"""The outside world: one package per channel, each turning its network into messages on the bus and back."""
