"""A finished run behind HTTP: a page, an interface for programs, and a stream. docs/deploy.md describes them."""
