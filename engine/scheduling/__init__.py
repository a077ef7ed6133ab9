"""Which task runs next, and why: scores, the queue, dependencies, limits, retries, and the scheduler that composes them.

`scheduler` decides, synchronously and without I/O; `dispatcher` acts on what it decided. The parts do not know each other.
"""
