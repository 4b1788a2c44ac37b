"""What keeps the documentation true: the site, generated pages, and the blocks that are run."""
