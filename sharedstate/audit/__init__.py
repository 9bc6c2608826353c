"""Audit series: how often something happened, by address, block or name, in sliding windows over the whole fleet.

`series` says what a series is, `packed` and `places` where its counts are in Redis, `store` what a member still has to
say, `engine` and `reading` the flows, `faces` what `state.audit` offers, `traffic` the series that mail events feed.
"""
