"""A file of judgments: rows of any common shape in, verdicts out as they are made (`armlite judge FILE --out DIR`)."""
