"""Live views of a host, in the browser and in the terminal: both show the snapshots of one observer."""
