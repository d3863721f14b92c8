"""Download a corpus: `download` is the whole way, `transfer` fetches a file, `unpack` unpacks it, `hub` does both."""
