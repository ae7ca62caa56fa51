"""One file a question: its table, its figure and the reading of both, side by side."""
