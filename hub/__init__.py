"""What every part shares: settings, messages, the bus, the API and the application that starts it all."""
