"""The two commands: nbspd, the daemon, and nbsp, the operator's tool."""
