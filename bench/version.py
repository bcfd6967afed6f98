"""The suite's own version."""

from importlib import metadata


def version() -> str:
    """As installed; ``not installed`` where the packages are only on the path."""
    try:
        return metadata.version("postbench")
    except metadata.PackageNotFoundError:
        return "not installed"
