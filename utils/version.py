"""The version of all programs; pyproject.toml takes it from here."""

VERSION = "0.1.0"
