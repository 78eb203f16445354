"""The daily refresh: new days of logs become what is served, or one line says why not."""
