"""How long an audit takes, what it needs of memory, and how that compares with doing without."""

from tasks.allocators import hold_little

hold_little()  # for parts of an audit that are measured by themselves
