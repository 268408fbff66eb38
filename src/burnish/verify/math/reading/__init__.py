"""The text of an answer as a shape: tokens, then trees, then lists, intervals, matrices, equations. Never evaluates."""
