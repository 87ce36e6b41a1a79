"""Pipeline from records to training batches."""
