"""The one error that the sandbox's own commands end with."""


class SandboxError(Exception):
    """The sandbox can't do what was asked: the message says what, why and what to do."""
