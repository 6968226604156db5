"""Template-written conversations: requests whose calls are known because both were made together."""
