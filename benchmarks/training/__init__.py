"""What training takes, and how accurate the models are: ours, and our peers' public examples, on the same data."""
