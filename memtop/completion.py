"""Shell completion: the scripts, and what completes after `--scenario` and `--set`."""

from __future__ import annotations

from typing import Final

import click
from click.shell_completion import BashComplete, CompletionItem, FishComplete, ShellComplete, ZshComplete

VARIABLE: Final = "_MEMTOP_COMPLETE"
"""The environment variable by which a shell's script asks us; click's name for a program called memtop."""

_INSTALL: Final = {
    "bash": "echo 'eval \"$(memtop completion bash)\"' >> ~/.bashrc",
    "zsh": 'memtop completion zsh > "${fpath[1]}/_memtop"  (a folder of $fpath, before compinit)',
    "fish": "memtop completion fish > ~/.config/fish/completions/memtop.fish",
}
_GLUE: Final = ("=", ":")


class _Bash(BashComplete):
    """bash takes `optimizer=adam` and `cuda:0` for three words each: put them together, and answer with the last."""

    def get_completion_args(self) -> tuple[list[str], str]:
        args, incomplete = super().get_completion_args()
        words = _joined([*args, incomplete])
        self._cut = max(words[-1].rfind(glue) for glue in _GLUE) + 1
        return words[:-1], words[-1]

    def format_completion(self, item: CompletionItem[str]) -> str:
        return f"{item.type},{item.value[self._cut :]}"


def _joined(words: list[str]) -> list[str]:
    found: list[str] = []
    for word in words:
        if found and (word in _GLUE or found[-1].endswith(_GLUE)) and not found[-1].startswith("--"):
            found[-1] += word
        else:
            found.append(word)
    return found


_SHELLS: Final[dict[str, type[ShellComplete]]] = {"bash": _Bash, "zsh": ZshComplete, "fish": FishComplete}


def script(shell: str, cli: click.Command) -> str:
    """The completion script for `bash`, `zsh` or `fish`, with the line that installs it as a comment."""
    made = _SHELLS[shell](cli, {}, "memtop", VARIABLE)
    text = ShellComplete.source(made)  # bash's own asks a bash for its version first
    install = f"# To install: {_INSTALL[shell]}\n"
    if text.startswith("#compdef"):  # must stay zsh's first line
        first, rest = text.split("\n", 1)
        return f"{first}\n{install}{rest}"
    return install + text


def answer(cli: click.Command, instruction: str) -> str:
    """What a shell's script asked for: the completions of the line that its environment variables hold."""
    shell = instruction.partition("_")[0]
    made = _SHELLS.get(shell)
    return made(cli, {}, "memtop", VARIABLE).complete() if made else ""


def scenarios(incomplete: str) -> list[CompletionItem[str]]:
    """Scenario names, with their titles."""
    from memtop.launcher import manifests

    found = [manifests.load(name) for name in manifests.names() if name.startswith(incomplete)]
    return [CompletionItem(manifest.name, help=manifest.title) for manifest in found]


def settings(scenario: str, incomplete: str) -> list[CompletionItem[str]]:
    """`NAME=` of what the scenario offers, then `NAME=VALUE` where it offers certain values."""
    from memtop.launcher import manifests

    try:
        manifest = manifests.load(scenario)
    except manifests.ManifestError:
        return []
    name, equals, _ = incomplete.partition("=")
    if not equals:
        return [
            CompletionItem(f"{spec.name}=", help=spec.title) for spec in manifest.settings if spec.name.startswith(name)
        ]
    spec = manifest.spec(name)
    offered = [f"{name}={_word(value)}" for value in (spec.choices if spec else ())]
    if spec is not None and spec.kind == "bool":
        offered = [f"{name}=on", f"{name}=off"]
    return [CompletionItem(text) for text in offered if text.startswith(incomplete)]


def _word(value: object) -> str:
    return str(value)
