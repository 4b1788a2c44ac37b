"""What API servers take and refuse."""
