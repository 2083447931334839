"""Vector indexes: the contract, its implementations, and the keeper that holds one equal to the database."""
