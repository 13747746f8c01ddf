"""Pretraining: the loop, its random numbers, optimizer and device."""
