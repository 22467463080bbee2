"""Plays posed images to the real localization node over DDS and measures what comes back."""
