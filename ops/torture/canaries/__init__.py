"""Words that nobody else says, sent down every path, and looked for where none may be."""
