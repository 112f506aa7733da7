"""Since when a contradiction is there: releases are installed one by one, and asked a target's findings."""
