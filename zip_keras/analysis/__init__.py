"""What people look at: map attention, anchor fit, cost of a network."""
