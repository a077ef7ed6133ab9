"""Everything that must last: the private state folder, the database in it, and the rows of tasks, attempts, events and runs."""
