"""How long an audit takes, what it needs of memory, and how that compares with doing without."""
