"""One world from outside: what is asked of it, the filter it lives under, the watch over it, and talking with it."""
