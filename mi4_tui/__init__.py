"""MI4 in a terminal: the app, the headless run and the verbs, all of them clients of `engine`."""
