"""Random histories: many seeds inside one test case."""

import functools
import inspect


def over_seeds(count):
    """Run the test once for each of *count* seeds; the one that fails is named in a note on the exception."""

    def decorate(test):
        def named(error, seed):
            error.add_note(f"seed {seed} of {count}")

        if inspect.iscoroutinefunction(test):
            @functools.wraps(test)
            async def run(*args, **kwargs):
                for seed in range(count):
                    try:
                        await test(*args, seed=seed, **kwargs)
                    except BaseException as error:
                        named(error, seed)
                        raise
        else:
            @functools.wraps(test)
            def run(*args, **kwargs):
                for seed in range(count):
                    try:
                        test(*args, seed=seed, **kwargs)
                    except BaseException as error:
                        named(error, seed)
                        raise
        del run.__wrapped__
        signature = inspect.signature(test)
        run.__signature__ = signature.replace(parameters=[
            each for name, each in signature.parameters.items() if name != "seed"])
        return run

    return decorate
