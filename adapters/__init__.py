"""Translate between a surface people use and the service; ask nothing and decide nothing."""
