"""From results to what people read: tables and figures."""
