"""From table rows to padded batches."""
