"""The pool of warm worker processes: the zygote that forks them, the host that runs one task at a time, the runners under it."""
