"""Measures the real localization node under load, over DDS: latency, losses, memory."""
