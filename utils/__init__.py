"""What the three models share."""
__version__ = "0.1.0"       # of all programs; pyproject.toml takes it from here
