"""What a test program has looked at: each check is said, and those that did not hold are remembered."""
failures = []


def check(good, what):
    print(("ok  " if good else "BAD ") + what, flush=True)
    if not good:
        failures.append(what)


def exit_code():
    """Says what did not hold."""
    print(f"{len(failures)} checks failed" if failures else "all checks hold")
    for what in failures:
        print("  " + what)
    return 1 if failures else 0
