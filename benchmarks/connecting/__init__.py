"""What taking messages in and showing answers costs, beside handlers that only store and forward."""
