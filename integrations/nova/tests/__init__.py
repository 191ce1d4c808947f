"""The package's own tests: python3 -m unittest, from the directory above. What needs Nova is skipped without it, by name."""
