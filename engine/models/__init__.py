"""Chat models: the contract, its implementations, and the registry of the settings."""
