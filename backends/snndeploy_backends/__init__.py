"""Backends that ship with snndeploy, each published as an entry point."""
