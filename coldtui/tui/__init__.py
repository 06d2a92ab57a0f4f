"""The console. Importing this package loads nothing: `picture` must be able to draw before any library is read."""

import os

# Textual reads these once, when it is imported. 15 frames a second cost single presses nothing and keep a held key from flooding a slow link.
os.environ.setdefault("TEXTUAL_FPS", "15")
os.environ.setdefault("TEXTUAL_ANIMATIONS", "none")
