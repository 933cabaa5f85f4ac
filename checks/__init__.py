"""The words and rules of reconciliation, without any I/O.

What an edge, a replica, an observation and a finding are; the finding kinds and the state table as
data; normal forms of ids and locations; the comparison of frames; the Great Expectations suites.
"""
