"""Live views of a host: one picture of it, shown in the browser and in the terminal."""
