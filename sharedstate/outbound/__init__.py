"""Outbound connections: which caps apply to one, and slots taken and given back, exact over the whole fleet."""
