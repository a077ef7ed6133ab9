"""The screens of the app, each with its own style sheet of the same name beside it."""
