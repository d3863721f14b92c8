"""Compare label sources: agreement, listening tests, and described against measured voices."""
