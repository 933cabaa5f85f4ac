"""A local stand-in for everything edgekeeper talks to.

Real Postgres, a server that speaks the Vercel Blob API and one that speaks the Internet
Computer's HTTP interface, each in a process of its own. Nothing here imports ``checks``, ``tasks``
or ``flows``: a stand-in that shared the client's code would share its mistakes.
"""
