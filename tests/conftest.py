"""Nothing here has a side effect but one: a slow machine is no falsified property. Each
folder of tests brings its own fixtures."""

from hypothesis import settings

settings.register_profile("any-machine", deadline=None)
settings.load_profile("any-machine")
