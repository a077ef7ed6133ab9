"""What a task prints, on its way from the pipe to people: redacted, logged with a cap, counted, sanitised. Light: hosts import it."""
