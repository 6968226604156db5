"""Stands here so that pytest puts this folder on the import path: tests share the helper modules beside it."""
