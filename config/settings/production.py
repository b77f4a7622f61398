"""Production: https only, everything from the environment, no default secret."""

from config.env import Environment
from config.settings.base import *
from config.settings.base import read_environment

DEBUG = False
_env = Environment()
globals().update(read_environment(_env, https_only=True))
_env.finish()
