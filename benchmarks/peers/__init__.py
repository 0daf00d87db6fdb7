"""The simulators, one module each, that `worker.py` runs in a process of their own.

A module `peers.<name>` has a class `Simulator` as `peers.spikes.Simulator` describes it.
"""
