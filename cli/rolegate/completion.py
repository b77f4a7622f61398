"""Completion for bash, zsh, fish and PowerShell: a few lines in each shell, which ask `rolegate __complete`."""

from __future__ import annotations

import argparse
import sys

from rolegate.errors import OK, Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_SCRIPTS = {
    "bash": """\
# bash: put this into ~/.bashrc:  eval "$(rolegate completion bash)"
_rolegate() {
    local i
    for ((i = 1; i < COMP_CWORD; i++)); do
        if [[ ${COMP_WORDS[i]} == -- ]]; then
            if declare -F _command_offset >/dev/null; then _command_offset $((i + 1)); return; fi
            local IFS=$'\\n' kind=-f
            if ((COMP_CWORD == i + 1)); then kind=-c; else compopt -o filenames; fi
            COMPREPLY=($(compgen $kind -- "${COMP_WORDS[COMP_CWORD]}"))
            return
        fi
    done
    local IFS=$'\\n'
    COMPREPLY=($(rolegate __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
    [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *= ]] && compopt -o nospace
}
complete -F _rolegate rolegate
""",
    "zsh": """\
#compdef rolegate
# zsh: put this into ~/.zshrc, after compinit:  eval "$(rolegate completion zsh)"
_rolegate() {
    local at=${words[(i)--]}
    if (( at < CURRENT )); then
        shift $at words
        (( CURRENT -= at ))
        _normal
        return
    fi
    local -a found
    found=(${(f)"$(rolegate __complete "${(@Q)words[2,CURRENT]}" 2>/dev/null)"})
    compadd -M 'm:{a-zA-Z}={A-Za-z} l:|=* r:|=*' -- $found
}
compdef _rolegate rolegate
""",
    "fish": """\
# fish: rolegate completion fish > ~/.config/fish/completions/rolegate.fish
function __rolegate_complete
    set -l words (commandline -opc) (commandline -ct)
    rolegate __complete $words[2..-1] 2>/dev/null
end
complete -c rolegate -f -n 'not contains -- -- (commandline -opc)' -a '(__rolegate_complete)'
complete -c rolegate -n 'contains -- -- (commandline -opc)' -a '(__fish_complete_subcommand --fcs-skip=3)'
""",
    "powershell": """\
# PowerShell: put this into your $PROFILE:  rolegate completion powershell | Out-String | Invoke-Expression
Register-ArgumentCompleter -Native -CommandName rolegate -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)
    $words = @($commandAst.CommandElements | Select-Object -Skip 1 | ForEach-Object { $_.ToString() })
    # A word that is not begun has a command of its own: before PowerShell 7.3, no program is handed an empty argument.
    $asked = if ($wordToComplete) { '__complete' } else { '__complete_next' }
    & rolegate $asked @words 2>$null | ForEach-Object { [System.Management.Automation.CompletionResult]::new($_, $_, 'ParameterValue', $_) }
}
""",
}
SHELLS = tuple(_SCRIPTS)
# Commands whose words are roles, and options whose value is one.
_WITH_ROLES = frozenset({"exec", "env", "console", "serve", "credentials", "roles", "configure"})


def completion(options: argparse.Namespace) -> int:
    """`rolegate completion SHELL`."""
    sys.stdout.write(_SCRIPTS[options.shell])
    return OK


def answer(words: Sequence[str], parser: argparse.ArgumentParser) -> int:
    """`rolegate __complete WORDS`: what the last of these words can become, one a line. Asks nobody; whatever fails, fails silently."""
    print("\n".join(found(words, parser)))
    return OK


def found(words: Sequence[str], parser: argparse.ArgumentParser) -> list[str]:
    """The candidates for the last word."""
    *before, last = words or [""]
    (commands,) = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    name = next((word for word in before if word in commands.choices), None)
    if name is None:
        return (
            [choice for choice in commands.choices if choice.startswith(last)]
            if not last.startswith("-")
            else _options(parser, last)
        )
    actions = commands.choices[name]._actions
    asked = next((action for action in actions if before[-1] in action.option_strings), None) if before[-1:] else None
    if asked is not None and asked.nargs != 0:
        if asked.choices:
            return [str(choice) for choice in asked.choices if str(choice).startswith(last)]
        return (
            _roles(last)
            if "--role" in asked.option_strings
            else _gateways(last)
            if "--gateway" in asked.option_strings
            else []
        )
    if last.startswith("-"):
        return _options(commands.choices[name], last)
    if name == "completion":
        return [shell for shell in SHELLS if shell.startswith(last)]
    if name == "login":
        return _gateways(last)
    return _roles(last) if name in _WITH_ROLES else []


def _options(parser: argparse.ArgumentParser, last: str) -> list[str]:
    return sorted(
        text
        for action in parser._actions
        if action.help != argparse.SUPPRESS
        for text in action.option_strings
        if text.startswith(last)
    )


def _gateways(last: str) -> list[str]:
    from rolegate.settings import Settings

    try:
        return [gateway.url for gateway in Settings().all() if last in gateway.url]
    except Failure:
        return []


def _roles(last: str) -> list[str]:
    """ACCOUNT/ROLE of the cached list: those that begin so, else those that hold the word."""
    from rolegate.client import Client
    from rolegate.roles import Roles, label
    from rolegate.settings import Settings

    settings = Settings()
    try:
        labels = [label(role) for role in Roles(Client(settings, settings.gateway(None))).all(offline=True)]
    except Failure:
        return []
    wanted = last.lower()
    labels = [text for text in labels if _is_plain(text)]
    return [text for text in labels if text.lower().startswith(wanted)] or [
        text for text in labels if wanted in text.lower()
    ]


def _is_plain(text: str) -> bool:
    """Whether a shell reads the word as it stands. Bash and PowerShell put it into the line as it is, and whoever names an account in
    AWS would have `$(…)` in it run by everybody who completes it.
    """
    return text[:1].isalnum() and all(letter.isalnum() or letter in "_.:+=@/-" for letter in text)
