"""What a worker has done lately, for its pages: bounded, in memory, gone when it ends."""
