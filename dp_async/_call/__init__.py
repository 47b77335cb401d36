"""One request: signed, limited, retried and observed."""
