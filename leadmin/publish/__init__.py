"""Results on disk, the book, the paper."""
