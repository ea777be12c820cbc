"""Old names for new things: what lets scripts of other systems run."""

__all__: list[str] = []
