"""What the models share, in rooms: a package or a module each. `make imports` draws them and what imports what."""
