"""What runs inside the sandbox before foreign code does: the standard library and these files, no Burnish."""
