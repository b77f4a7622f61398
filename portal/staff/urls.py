"""The console's addresses, all below /staff/. Each view carries `guard.staff`; a test walks over them."""

from django.urls import path

from portal.staff import home, rights, tasks

urlpatterns = [
    path("staff/", home.home, name="staff-home"),
    path("staff/rights/", rights.rights, name="staff-rights"),
    path("staff/rights/<int:number>/", rights.holders, name="staff-rights-holders"),
    path("staff/tasks/", tasks.tasks, name="staff-tasks"),
    path("staff/tasks/workers", tasks.workers, name="staff-tasks-workers"),
    path("staff/tasks/<slug:task>/", tasks.task, name="staff-task"),
    path("staff/tasks/<slug:task>/run", tasks.run, name="staff-task-run"),
]
