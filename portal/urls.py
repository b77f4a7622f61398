"""Every path of the gateway. Those of DESIGN.md's table are fixed: people, providers, clients and AWS remember them."""

from django.urls import include, path

from portal import converters
from portal.views import (
    activity,
    cli,
    error_codes,
    language,
    metrics,
    oidc,
    requests,
    role,
    roles,
    saml,
    sign_in,
    sign_out,
    use_role,
)

converters.register()
urlpatterns = [
    path("", roles.my_roles, name="my-roles"),
    path("signin/", sign_in.choose, name="sign-in"),
    path("signin/<slug:provider>/", sign_in.begin, name="sign-in-begin"),
    path("signin/<slug:provider>/complete", sign_in.complete, name="sign-in-complete"),
    path("signout/", sign_out.sign_out, name="sign-out"),
    path("signout/done", sign_out.done, name="signed-out"),
    path("saml/<slug:provider>/metadata", saml.metadata, name="saml-metadata"),
    path("saml/<slug:provider>/acs", saml.consume, name="saml-acs"),
    path("saml/<slug:provider>/slo", saml.single_logout, name="saml-slo"),
    path("oidc/<slug:provider>/callback", oidc.callback, name="oidc-callback"),
    path("oidc/<slug:provider>/backchannel-logout", oidc.backchannel_logout, name="oidc-backchannel-logout"),
    # A role's name may be preceded by its path, with slashes.
    path("roles/<account:account_id>/<path:role_name>/console", use_role.console, name="console"),
    path("roles/<account:account_id>/<path:role_name>/credentials", use_role.credentials, name="credentials"),
    path("roles/<account:account_id>/<path:role_name>/policies", role.policies, name="role-policies"),
    path("roles/<account:account_id>/<path:role_name>/favourite", role.favourite, name="favourite"),
    path("roles/<account:account_id>/<path:role_name>/", role.role, name="role"),
    path("why/", role.why, name="why"),
    path("activity/", activity.activity, name="activity"),
    path("activity/end-others", activity.end_others, name="activity-end-others"),
    path("requests/", requests.mine, name="requests"),
    path("requests/new", requests.new, name="request-new"),
    path("requests/break-glass", requests.break_glass, name="request-break-glass"),
    path("requests/to-decide/", requests.to_decide, name="requests-to-decide"),
    path("requests/<uuid:request_id>/", requests.one, name="request"),
    path("requests/<uuid:request_id>/decide", requests.decide, name="request-decide"),
    path("requests/<uuid:request_id>/review", requests.review, name="request-review"),
    path("requests/<uuid:request_id>/withdraw", requests.withdraw, name="request-withdraw"),
    path("requests/<uuid:request_id>/<int:item_id>/policies", requests.policies, name="request-policies"),
    path("requests/<uuid:request_id>/<int:item_id>/end", requests.end, name="request-end"),
    path("cli/", cli.command_line, name="cli"),
    path("cli/rolegate.pyz", cli.download_pyz, name="cli-pyz"),
    path("cli/<str:wheel>.whl", cli.download_wheel, name="cli-wheel"),
    path("cli/<uuid:grant_id>/revoke", cli.revoke, name="cli-revoke"),
    path("language/", language.choose_language, name="language"),
    path("errors", error_codes.error_codes, name="error-codes"),  # the `type` of every problem document points here
    path("metrics", metrics.metrics, name="metrics"),
    path("", include("portal.staff.urls")),
    path("", include("portal.oauth.urls")),
    path("", include("portal.api.urls")),
    path("", include("portal.scim.urls")),
    path("", include("portal.issuer.urls")),
    path("", include("portal.health")),
]
