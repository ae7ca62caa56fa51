"""What the runs of a study show under the same resamples of patients."""
