"""Starting the processes that train together."""
