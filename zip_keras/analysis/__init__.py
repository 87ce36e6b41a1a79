"""Analysis tools: map attention, anchor fit, cost of a network, data set reports."""
