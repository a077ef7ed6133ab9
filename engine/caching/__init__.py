"""Results that stand in for running a task again: what the key is made of, and the store of the results."""
