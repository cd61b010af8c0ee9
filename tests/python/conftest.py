"""Tests of the Python packages. They run without the extension where they can; those that need it import it."""
