"""The limits of a process that reads what somebody has uploaded: memory, processor seconds, and no file written."""

from contextlib import suppress


def confine(memory_bytes: int, cpu_seconds: int) -> None:
    with suppress(ImportError):  # Windows: the parent's clock and the file's own limits are what is left
        import resource  # noqa: PLC0415

        resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds))
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        with suppress(ValueError, OSError):  # macOS refuses this one
            resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
