"""The kit wants this of a plugin; there are none."""
