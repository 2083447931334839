"""Any program with HTTP as a channel: signed requests in, signed requests out."""
