"""Messages that somebody might send to stop, fill or fool a worker, sent to a worker in 1 GiB."""
