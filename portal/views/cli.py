"""`/cli/`: the command line helper, how it gets onto this machine and in here, and the ones that are paired."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotModified, HttpResponseRedirect
from django.shortcuts import render
from django.utils import timezone
from django.utils.http import parse_etags
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from federation.flows import pair_cli
from portal import cli_package
from portal.views.guard import origin_of, person_of, signed_in


@dataclass(frozen=True, slots=True)
class Way:
    """One way to install the helper: a name for people, and the line that does it."""

    id: str
    name: str
    line: str


def _platform(agent: str) -> str:
    """The visitor's system, by what the browser says of itself: "windows", "mac", or "linux" for all the rest (WSL and servers too)."""
    if "Windows" in agent:
        return "windows"
    return "mac" if "Mac OS" in agent or "Macintosh" in agent else "linux"


def _ways() -> dict[str, list[Way]]:
    """The lines for each system, the best first. Each checks the digest before anything of the file is run."""
    base, pyz, wheel = settings.ROLEGATE_URL, cli_package.pyz(), cli_package.wheel()
    spec = f'"rolegate @ {base}/cli/{wheel.name}#sha256={wheel.sha256}"'

    def one_file(check: str) -> str:
        # Checked beside its place: over an older one, which may be run already, a file that is not the right one would be run too.
        return (
            f"sh -c 'mkdir -p ~/.local/bin && cd ~/.local/bin && curl -fsS {base}/cli/{pyz.name} -o rolegate.new"
            f' && echo "{pyz.sha256}  rolegate.new" | {check} -c - && chmod +x rolegate.new && mv rolegate.new rolegate\''
        )

    # WindowsApps is on everybody's PATH. -3: else py would look for a Python in the file's first line, which is for sh.
    folder, commands = "$env:LOCALAPPDATA\\rolegate", "$env:LOCALAPPDATA\\Microsoft\\WindowsApps"
    windows = (
        f'mkdir -Force "{folder}" | Out-Null; iwr -UseBasicParsing {base}/cli/{pyz.name} -OutFile "{folder}\\rolegate.new";'
        f" if ((Get-FileHash \"{folder}\\rolegate.new\").Hash -ne '{pyz.sha256.upper()}') {{ throw 'This is not the file that the gateway shows' }};"
        f' Move-Item -Force "{folder}\\rolegate.new" "{folder}\\{pyz.name}";'
        f' Set-Content "{commands}\\rolegate.cmd" \'@py -3 -I -S "%LOCALAPPDATA%\\rolegate\\{pyz.name}" %*\''
    )
    pipx = Way("pipx", _("With pipx"), f"pipx install {spec}")
    return {
        "linux": [Way("file", _("One file"), one_file("sha256sum")), pipx, Way("pip", _("With pip"), f"python3 -m pip install --user {spec}")],
        "mac": [Way("file", _("One file"), one_file("shasum -a 256")), pipx, Way("pip", _("With pip"), f"python3 -m pip install --user {spec}")],
        "windows": [Way("file", _("One file, in PowerShell"), windows), pipx, Way("pip", _("With pip"), f"py -m pip install --user {spec}")],
    }  # fmt: skip


@require_safe
@signed_in
def command_line(request: HttpRequest) -> HttpResponse:
    """The line for this machine, the other systems', and the list of paired clients."""
    here = _platform(request.headers.get("User-Agent", ""))
    ways = _ways()
    names = {"linux": _("Linux and WSL"), "mac": "macOS", "windows": "Windows"}
    context = {
        "here": "cli",
        "base": settings.ROLEGATE_URL,
        "client_id": pair_cli.CLI.id,
        "grants": pair_cli.list_grants(person_of(request).pk, now=timezone.now()),
        "revoked": "revoked" in request.GET,
        "platform": names[here],
        "on_windows": here == "windows",
        "best": ways[here][0],
        "others": ways[here][1:],
        "elsewhere": [(key, name, ways[key]) for key, name in names.items() if key != here],
        "version": cli_package.version(),
        "pyz": cli_package.pyz(),
        "wheel": cli_package.wheel(),
    }
    return render(request, "portal/cli.html", context)


@require_POST
@signed_in
def revoke(request: HttpRequest, grant_id: UUID) -> HttpResponse:
    """Unpairs one of the person's own command lines; its tokens are dead at once."""
    pair_cli.revoke_grant(grant_id, person_id=person_of(request).pk, origin=origin_of(request), now=timezone.now())
    return HttpResponseRedirect("/cli/?revoked")


@require_safe
def download_pyz(request: HttpRequest) -> HttpResponse:
    """The helper in one file. Public: it holds nothing about anybody, and curl has no session."""
    return _download(request, cli_package.pyz())


@require_safe
def download_wheel(request: HttpRequest, wheel: str) -> HttpResponse:
    """The helper's wheel, under the one name that it has."""
    package = cli_package.wheel()
    if f"{wheel}.whl" != package.name:
        raise Http404
    return _download(request, package)


def _download(request: HttpRequest, package: cli_package.Package) -> HttpResponse:
    etag = f'"{package.sha256[:32]}"'
    headers = {
        "ETag": etag,
        "Cache-Control": "public, max-age=300",
        "Content-Disposition": f'attachment; filename="{package.name}"',
    }
    if etag in parse_etags(request.META.get("HTTP_IF_NONE_MATCH", "")):
        return HttpResponseNotModified(headers=headers)
    return HttpResponse(package.content, content_type=package.kind, headers=headers)
