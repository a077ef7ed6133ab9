"""What does the work below a host: a command, a function in a warm child, a simulated agent. One `Job` at a time."""
