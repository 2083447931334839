"""Who writes mail in these tests, and to whom."""

HUB, JANE = "hub@example.org", "jane@example.net"
