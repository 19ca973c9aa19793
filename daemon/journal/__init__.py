"""What happened on this host, in order, and provably unedited: the daemon's memory."""
