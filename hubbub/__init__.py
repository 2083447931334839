"""What packages of others import from Hubbub beside the contract of a connector itself."""
