"""Who calls: API keys and their cache, anonymous use on loopback, rate limits, signed addresses."""
