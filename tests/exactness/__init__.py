"""Exactness: whatever happens, the counts become those of the members that live."""
