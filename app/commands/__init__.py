"""Commands for operators, one module each: ``faust -A app <command>``."""
