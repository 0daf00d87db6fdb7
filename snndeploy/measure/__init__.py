"""Counts from traces: settle steps, spikes, synaptic operations."""
