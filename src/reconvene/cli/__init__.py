"""The command line, and the resumable client that it follows sessions with."""
