"""Development: as production, but plain http on loopback is allowed and any DATABASE_URL will do."""

from config.env import Environment
from config.settings.base import *
from config.settings.base import read_environment

DEBUG = False
_env = Environment()
globals().update(read_environment(_env, https_only=False))
_env.finish()
