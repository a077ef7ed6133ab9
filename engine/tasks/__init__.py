"""What a task is, which states it may pass through, and how task files become tasks."""
