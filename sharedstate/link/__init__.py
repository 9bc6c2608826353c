"""The link to Redis: where a call goes, when it is sent again, and what its failure means."""
