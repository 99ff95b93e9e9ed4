"""What an event may name: runs, chains, paths, dimension elements and new dataset types."""
