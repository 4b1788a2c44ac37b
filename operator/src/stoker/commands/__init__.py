"""Commands for people: each reads files or one object, asks the core, and prints."""
