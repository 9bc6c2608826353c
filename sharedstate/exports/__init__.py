"""Exports of audit series to files: closed windows, each once, whoever runs the export and however it ends.

`files` knows names and writes files whole, `job` decides which run exports which window, `prune` compresses and removes
files, `query` asks them questions.
"""
