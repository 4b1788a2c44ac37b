"""Commands that need no cluster: each reads files, asks the core, and prints."""
