"""A module that starts a thread when it is imported: not fit to be preloaded."""

import threading

threading.Thread(target=threading.Event().wait, daemon=True).start()
