"""Studies and runs: settings, folds, training, provenance, baselines."""
