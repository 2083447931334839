"""Telegram: updates by webhook or long polling, replies in parts, answers shown while they are generated."""
