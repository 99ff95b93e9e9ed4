"""The agents, one a module; each is thin, its steps are plain functions."""
