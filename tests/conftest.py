"""For every test: Hypothesis without deadlines, since two shared cores keep none."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("house", deadline=None, print_blob=True)
settings.load_profile("house")
