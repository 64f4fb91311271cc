"""Decide what is done for whom: commands, service, store, delivery; knows no chat platform and no sandbox."""
