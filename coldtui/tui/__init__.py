"""The console. Importing this package loads nothing: `picture` must be able to draw before any library is read."""

import os

# Textual reads these once, when it is imported. 15 frames a second cost single presses nothing and keep a held key from flooding a slow link.
OVER_SSH = bool(os.environ.get("SSH_CONNECTION") or os.environ.get("SSH_TTY"))
# What is painted is little and comes at most four times a second; but a key pressed right after a paint waits for the next frame:
# 66 ms at 15 frames. On a line that carries them that is worth its limit, here it is not.
os.environ.setdefault("TEXTUAL_FPS", "15" if OVER_SSH else "60")
os.environ.setdefault("TEXTUAL_ANIMATIONS", "none")
