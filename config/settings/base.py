"""What every settings module shares. Values come from the environment through `config.env`, nowhere else.

Security options are written out even where they equal Django's default: a reader sees what is in force.
"""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from config.env import Environment
from config.logs import logging_config

BASE_DIR = Path(__file__).resolve().parent.parent.parent

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_htmx",
    "heroicons",
    "federation.apps.FederationConfig",
    "portal.apps.PortalConfig",
]

MIDDLEWARE = [
    "portal.health.HealthMiddleware",  # probes come by address and plain http: answered before Host check, https redirect and sessions
    "portal.middleware.RequestContext",  # request id and origin first: every later answer carries the id
    "portal.middleware.SecurityHeaders",  # around everything that can answer: the redirect to https and the 400 for a forged Host too
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "portal.auth.PersonMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "portal.middleware.ErrorPages",  # innermost: its pages pass everything above
]

ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "portal.context.gateway",
            ]
        },
    }
]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
AUTH_USER_MODEL = "federation.Person"
AUTHENTICATION_BACKENDS = ["portal.auth.FederatedBackend"]
LOGIN_URL = "/signin/"
LANGUAGE_CODE = "en"
# Each by its own name: who is looking for their language reads no other. Arabic shows that everything lays out from the right.
LANGUAGES = [("en", "English"), ("de", "Deutsch"), ("ja", "日本語")]
LOCALE_PATHS = [BASE_DIR / "portal" / "locale"]
LANGUAGE_COOKIE_HTTPONLY = True
LANGUAGE_COOKIE_AGE = 31_536_000
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = True

STATIC_URL = "/static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.InMemoryStorage"},  # nothing is ever uploaded
    "staticfiles": {"BACKEND": "portal.assets.CollectedOrPackaged"},
}
WHITENOISE_USE_FINDERS = True  # where nobody ran collectstatic

# Sessions live in the database: right with Redis gone, and revoked by one statement.
SESSION_ENGINE = "portal.sessions"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_SAVE_EVERY_REQUEST = False
CSRF_COOKIE_HTTPONLY = True
CSRF_COOKIE_SAMESITE = "Lax"
CSRF_FAILURE_VIEW = "portal.views.errors.csrf_failure"
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"

X_FRAME_OPTIONS = "DENY"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
# A forged X-Forwarded-Host must not become part of a link or a Recipient: absolute URLs come from ROLEGATE_URL alone.
USE_X_FORWARDED_HOST = False
USE_X_FORWARDED_PORT = False
DATA_UPLOAD_MAX_MEMORY_SIZE = 1_000_000  # a SAML response of 256 KB is 342 KB as base64 and more when form-encoded
DATA_UPLOAD_MAX_NUMBER_FIELDS = 200
DATA_UPLOAD_MAX_NUMBER_FILES = 0
FILE_UPLOAD_HANDLERS = ["django.core.files.uploadhandler.MemoryFileUploadHandler"]

# Set in each settings module by `read_environment`; declared here so that a reader and the type checker see them all.
SECRET_KEY: str
SECRET_KEY_FALLBACKS: list[str]
DATABASES: dict[str, dict[str, Any]]
ROLEGATE_URL: str
ROLEGATE_ISSUER_URL: str
ROLEGATE_CONFIG: str
ROLEGATE_CLAIMS_MAX_AGE: timedelta
ROLEGATE_ACCESS_TOKEN_AGE: timedelta
ROLEGATE_REFRESH_TOKEN_AGE: timedelta
ROLEGATE_PAIRING_AGE: timedelta
ROLEGATE_DEVICE_EXCLUDED_ROLES: tuple[str, ...]
ROLEGATE_SIGNIN_ENDPOINT_URL: str
ROLEGATE_SAML_ENDPOINT_URL: str
ROLEGATE_TOKEN_ALGORITHM: str
ROLEGATE_TOKEN_KEY_AGE: timedelta
ROLEGATE_RATE_FACTOR: int
ROLEGATE_SECOND_PERSON_ABOVE: int
ROLEGATE_TRUSTED_PROXIES: tuple[str, ...]
ROLEGATE_PLAIN_LOOPBACK: bool
ROLEGATE_BINDING_COOKIE: str
ROLEGATE_ORGANIZATION_ROLE: str
ROLEGATE_EMAIL_FROM: str
ROLEGATE_LETTER_LANGUAGE: str
ROLEGATE_SUPPORT: str
REDIS_URL: str
CELERY_BROKER_URL: str

ROLEGATE_DEMO = False
ROLEGATE_VERSION = "0.1.0"

CELERY_TASK_SERIALIZER = "json"
CELERY_RESULT_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]  # pickle off: a message must never be able to run code
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_TASK_TIME_LIMIT = 300
CELERY_TASK_SOFT_TIME_LIMIT = 270
CELERY_TIMEZONE = "UTC"
# A worker and beat wait for Redis as long as it takes: Celery's own limit of 100 tries would end them in a long outage.
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_BEAT_SCHEDULER = "config.beat:JitteredScheduler"
# Plain intervals: celery.schedules would load Celery into every web worker (10 MB, 130 ms).
CELERY_BEAT_SCHEDULE: dict[str, dict[str, Any]] = {
    "refresh-provider-documents": {
        "task": "federation.tasks.refresh_provider_documents",
        "schedule": timedelta(minutes=10),
    },
    "refresh-catalogue": {"task": "federation.tasks.refresh_catalogue", "schedule": timedelta(hours=1)},
    "digest-audit": {
        "task": "federation.tasks.digest_audit",
        "schedule": timedelta(minutes=1),
        "options": {"expires": 60},
    },
    # Asks what has changed, and mostly nothing has. What waited for a worker for so long is asked again anyway.
    "refresh-entitlements": {
        "task": "federation.tasks.refresh_entitlements",
        "schedule": timedelta(seconds=15),
        "options": {"expires": 15},
    },
    # Each directory is read when its own interval is over: this asks which.
    "refresh-directory": {"task": "federation.tasks.refresh_directory", "schedule": timedelta(minutes=1)},
    # A dead worker's lease ends after 90 seconds.
    "resume-lost": {
        "task": "federation.tasks.resume_lost",
        "schedule": timedelta(minutes=1),
        "options": {"expires": 60},
    },
    "refresh-findings": {"task": "federation.tasks.refresh_findings", "schedule": timedelta(minutes=5)},
    "rotate-keys": {"task": "federation.tasks.rotate_keys", "schedule": timedelta(hours=1)},
    "send-letters": {"task": "federation.tasks.send_letters", "schedule": timedelta(seconds=20)},
    "purge-expired": {"task": "federation.tasks.purge_expired", "schedule": timedelta(hours=1)},
}


def read_environment(env: Environment, *, https_only: bool, defaults: dict[str, str] | None = None) -> dict[str, Any]:
    """The settings that come from the environment; call `env.finish()` afterwards.

    `https_only`: whether the gateway's own URLs must be https (production). `defaults`: values for demo and test.
    """
    given = defaults or {}
    url = env.url(
        "ROLEGATE_URL",
        given.get("ROLEGATE_URL", ""),
        https_only=https_only,
        required="ROLEGATE_URL" not in given,
        bare=True,
    )
    issuer = env.url("ROLEGATE_ISSUER_URL", f"{url}/issuer", https_only=https_only)
    secure = url.startswith("https://")
    host = urlsplit(url).hostname or "unset.invalid"
    cookie_prefix = "__Host-" if secure else ""
    debug_hosts = ["localhost", "127.0.0.1", "[::1]"] if not https_only else []
    redis = env.broker("REDIS_URL", given.get("REDIS_URL", ""))
    proxies = env.networks("ROLEGATE_TRUSTED_PROXIES")
    settings: dict[str, Any] = {
        "SECRET_KEY": env.secret("ROLEGATE_SECRET_KEY", given.get("ROLEGATE_SECRET_KEY", "")),
        "SECRET_KEY_FALLBACKS": list(env.secrets("ROLEGATE_SECRET_KEY_FALLBACKS")),
        "DATABASES": {
            "default": env.database("DATABASE_URL", given.get("DATABASE_URL", ""), required="DATABASE_URL" not in given)
        },
        "ALLOWED_HOSTS": sorted({host, *debug_hosts}),
        "CSRF_TRUSTED_ORIGINS": [url] if url else [],
        # __Host-: a browser takes such a cookie only over https, from this very host and without a Domain. So a page on a
        # sibling host cannot plant a session or a binding of its own here (login CSRF, session fixation).
        "SESSION_COOKIE_NAME": f"{cookie_prefix}rolegate_session",
        "CSRF_COOKIE_NAME": f"{cookie_prefix}rolegate_csrf",
        "LANGUAGE_COOKIE_NAME": f"{cookie_prefix}rolegate_language",
        "ROLEGATE_BINDING_COOKIE": f"{cookie_prefix}rolegate_signin",
        "SESSION_COOKIE_SECURE": secure,
        "CSRF_COOKIE_SECURE": secure,
        "LANGUAGE_COOKIE_SECURE": secure,
        "SESSION_COOKIE_AGE": int(env.duration("ROLEGATE_SESSION_AGE", "12h", least="15m", most="24h").total_seconds()),
        "SECURE_SSL_REDIRECT": secure,
        "SECURE_SSL_HOST": urlsplit(url).netloc
        if secure
        else None,  # not the Host that was sent: its port can be forged
        "SECURE_REDIRECT_EXEMPT": [r"^healthz$", r"^readyz$"],
        "SECURE_HSTS_SECONDS": 63_072_000 if secure else 0,
        "SECURE_HSTS_INCLUDE_SUBDOMAINS": secure,
        "SECURE_HSTS_PRELOAD": secure,
        # X-Forwarded-Proto and -For count only when the peer is one of ROLEGATE_TRUSTED_PROXIES: portal.middleware strips them otherwise.
        "SECURE_PROXY_SSL_HEADER": ("HTTP_X_FORWARDED_PROTO", "https") if proxies else None,
        "ROLEGATE_TRUSTED_PROXIES": proxies,
        # Identity providers are asked in plain http on loopback: of a developer's machine, never of a gateway's own host.
        "ROLEGATE_PLAIN_LOOPBACK": not https_only,
        "ROLEGATE_URL": url,
        "ROLEGATE_ISSUER_URL": issuer,
        "ROLEGATE_CONFIG": env.text("ROLEGATE_CONFIG", want="the path of a mapping document"),
        "ROLEGATE_CLAIMS_MAX_AGE": env.duration("ROLEGATE_CLAIMS_MAX_AGE", "12h", least="5m", most="24h"),
        "ROLEGATE_ACCESS_TOKEN_AGE": env.duration("ROLEGATE_ACCESS_TOKEN_AGE", "15m", least="1m", most="1h"),
        "ROLEGATE_REFRESH_TOKEN_AGE": env.duration("ROLEGATE_REFRESH_TOKEN_AGE", "12h", least="15m", most="168h"),
        "ROLEGATE_PAIRING_AGE": env.duration("ROLEGATE_PAIRING_AGE", "168h", least="1h", most="720h"),
        "ROLEGATE_DEVICE_EXCLUDED_ROLES": env.role_patterns("ROLEGATE_DEVICE_EXCLUDED_ROLES"),
        "ROLEGATE_SIGNIN_ENDPOINT_URL": env.url("ROLEGATE_SIGNIN_ENDPOINT_URL", "", https_only=https_only),
        "ROLEGATE_SAML_ENDPOINT_URL": env.url("ROLEGATE_SAML_ENDPOINT_URL", "", https_only=https_only),
        "ROLEGATE_ORGANIZATION_ROLE": env.role_arn("ROLEGATE_ORGANIZATION_ROLE"),
        "ROLEGATE_TOKEN_ALGORITHM": env.choice("ROLEGATE_TOKEN_ALGORITHM", "RS256", ("RS256", "ES256")),
        "ROLEGATE_TOKEN_KEY_AGE": env.duration("ROLEGATE_TOKEN_KEY_AGE", "2160h", least="168h", most="26280h"),
        "ROLEGATE_SECOND_PERSON_ABOVE": env.number("ROLEGATE_SECOND_PERSON_ABOVE", 25, least=0, most=1_000_000),
        "ROLEGATE_RATE_FACTOR": env.number("ROLEGATE_RATE_FACTOR", 1, least=1, most=1000),
        "ROLEGATE_SUPPORT": env.text("ROLEGATE_SUPPORT", want="an e-mail address, an https:// address, or words"),
        "ROLEGATE_LOG_LEVEL": env.choice("ROLEGATE_LOG_LEVEL", "INFO", ("DEBUG", "INFO", "WARNING", "ERROR")),
        "CELERY_BROKER_URL": redis or given.get("CELERY_BROKER_URL", "memory://"),
        "REDIS_URL": redis,
    }
    # Without a mail server no letter is written: who is asked finds the requests on their page.
    mail = env.mail_server("ROLEGATE_EMAIL_URL")
    sender = env.address("ROLEGATE_EMAIL_FROM", f"rolegate@{host}")
    language = env.choice("ROLEGATE_LETTER_LANGUAGE", "en", tuple(code for code, _ in LANGUAGES))
    settings |= {
        **mail,
        "ROLEGATE_EMAIL_FROM": sender if mail else "",
        "EMAIL_TIMEOUT": 10,
        "ROLEGATE_LETTER_LANGUAGE": language,
    }
    settings["LOGGING"] = logging_config(settings["ROLEGATE_LOG_LEVEL"])
    os.environ.setdefault("AWS_EC2_METADATA_DISABLED", "true")  # the gateway never looks for AWS keys of its own
    return settings
