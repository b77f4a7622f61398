"""The console's addresses, all below /staff/. Each view carries `guard.staff`; a test walks over them."""

from django.urls import path

from portal.staff import catalogue, home, rights, tasks

urlpatterns = [
    path("staff/", home.home, name="staff-home"),
    path("staff/accounts/", catalogue.accounts, name="staff-accounts"),
    path("staff/accounts/<account:account_id>/", catalogue.account, name="staff-account"),
    # A role's name may be preceded by its path, with slashes.
    path("staff/accounts/<account:account_id>/roles/<path:role_name>/", catalogue.role, name="staff-role"),
    path("staff/roles/", catalogue.roles, name="staff-roles"),
    path("staff/findings/", catalogue.findings, name="staff-findings"),
    path("staff/rights/", rights.rights, name="staff-rights"),
    path("staff/rights/<int:number>/", rights.holders, name="staff-rights-holders"),
    path("staff/tasks/", tasks.tasks, name="staff-tasks"),
    path("staff/tasks/workers", tasks.workers, name="staff-tasks-workers"),
    path("staff/tasks/<slug:task>/", tasks.task, name="staff-task"),
    path("staff/tasks/<slug:task>/run", tasks.run, name="staff-task-run"),
]
