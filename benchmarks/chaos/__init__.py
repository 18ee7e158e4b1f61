"""Chaos: a search whose machines vanish."""
