"""Rewards that a person names on the command line."""
