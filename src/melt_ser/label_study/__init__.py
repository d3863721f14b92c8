"""Two label sources compared: agreement, listening tests, acoustics."""
