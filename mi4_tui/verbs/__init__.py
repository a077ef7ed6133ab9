"""The verbs of ``mi4-tui``, a module for each group of them.

A module is imported when its verb is called (or its help is asked for), never for the overview. A verb returns its exit status and
raises `engine.errors.EngineError` for what went wrong.
"""
