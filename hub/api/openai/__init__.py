"""The routes below /v1: what clients of OpenAI's API send and expect."""
