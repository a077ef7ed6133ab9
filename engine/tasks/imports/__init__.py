"""Backlogs of other programs, read and never written: task-master, beads, GitHub issues."""
