"""The agents, one module each, and the steps of a flush."""
