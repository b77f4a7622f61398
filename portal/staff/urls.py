"""The console's addresses, all below /staff/. Each view carries `guard.staff`; a test walks over them."""

from django.urls import path

from portal.staff import home, rights

urlpatterns = [
    path("staff/", home.home, name="staff-home"),
    path("staff/rights/", rights.rights, name="staff-rights"),
    path("staff/rights/<int:number>/", rights.holders, name="staff-rights-holders"),
]
