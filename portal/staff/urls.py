"""The console's addresses, all below /staff/. Each view carries `guard.staff`; a test walks over them."""

from django.urls import path

from portal.staff import catalogue, home, mapping, mapping_editor, mapping_publish, rights, tasks

urlpatterns = [
    path("staff/", home.home, name="staff-home"),
    path("staff/accounts/", catalogue.accounts, name="staff-accounts"),
    path("staff/accounts/<account:account_id>/", catalogue.account, name="staff-account"),
    # A role's name may be preceded by its path, with slashes.
    path("staff/accounts/<account:account_id>/roles/<path:role_name>/", catalogue.role, name="staff-role"),
    path("staff/roles/", catalogue.roles, name="staff-roles"),
    path("staff/findings/", catalogue.findings, name="staff-findings"),
    path("staff/mapping/", mapping.mapping, name="staff-mapping"),
    path("staff/mapping/begin", mapping.begin, name="staff-mapping-begin"),
    path("staff/mapping/history/", mapping.history, name="staff-mapping-history"),
    path("staff/mapping/history/<int:number>/", mapping.revision, name="staff-mapping-revision"),
    path("staff/mapping/drafts/<uuid:draft_id>/", mapping_editor.draft, name="staff-mapping-draft"),
    path("staff/mapping/drafts/<uuid:draft_id>/check", mapping_editor.check, name="staff-mapping-check"),
    path("staff/mapping/drafts/<uuid:draft_id>/do", mapping_editor.do, name="staff-mapping-do"),
    path("staff/mapping/drafts/<uuid:draft_id>/rules/<int:number>/", mapping_editor.rule, name="staff-mapping-rule"),
    path("staff/mapping/drafts/<uuid:draft_id>/add", mapping_editor.add, name="staff-mapping-add"),
    path("staff/mapping/drafts/<uuid:draft_id>/ask", mapping_editor.ask, name="staff-mapping-ask"),
    path("staff/mapping/drafts/<uuid:draft_id>/preview", mapping_publish.preview, name="staff-mapping-preview"),
    path("staff/mapping/drafts/<uuid:draft_id>/decide", mapping_publish.decide, name="staff-mapping-decide"),
    path("staff/rights/", rights.rights, name="staff-rights"),
    path("staff/rights/<int:number>/", rights.holders, name="staff-rights-holders"),
    path("staff/tasks/", tasks.tasks, name="staff-tasks"),
    path("staff/tasks/workers", tasks.workers, name="staff-tasks-workers"),
    path("staff/tasks/<slug:task>/", tasks.task, name="staff-task"),
    path("staff/tasks/<slug:task>/run", tasks.run, name="staff-task-run"),
]
