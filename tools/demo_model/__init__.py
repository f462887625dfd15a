"""Trains, exports and judges the bundled demo checkpoint (see README.md)."""
