"""What a test program has looked at: each check is said, and those that did not hold are remembered."""
failures = []


def check(good, what):
    print(("ok  " if good else "BAD ") + what, flush=True)
    if not good:
        failures.append(what)
