"""Scripts that let a shell complete `melt-ser`: its verbs, the settings of the Hydra verbs, and file names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from melt_ser.core.errors import SetupError, did_you_mean

# Hydra completes the settings of these verbs itself, by a query for the words typed so far.
HYDRA_VERBS = "train|tune|evaluate|prepare"

BASH = """\
_melt_ser() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} verb=${{COMP_WORDS[1]}}
    if (( COMP_CWORD == 1 )); then
        COMPREPLY=($(compgen -W "{verbs} --help --version" -- "$word"))
        return
    fi
    case $verb in
        {hydra_verbs})
            local line=melt-ser${{COMP_LINE#*"$verb"}}
            COMPREPLY=($(COMP_LINE=$line COMP_POINT=${{#line}} melt-ser "$verb" --shell-completion query=bash))
            if [[ ${{COMPREPLY[0]}} == *[=/.] ]]; then compopt -o nospace 2>/dev/null || true; fi
            ;;
    esac
}}
COMP_WORDBREAKS=${{COMP_WORDBREAKS//=}}
complete -o default -F _melt_ser melt-ser
"""
ZSH = "autoload -Uz bashcompinit && bashcompinit\n" + BASH
FISH = """\
complete -c melt-ser -n "not __fish_seen_subcommand_from {verbs}" -f
{lines}
"""


def print_completion(verbs: Mapping[str, str], arguments: Sequence[str]) -> int:
    """Print the script for a shell, to be read with `eval "$(melt-ser --completion bash)"`; return the exit code.

    verbs: the purpose of each verb.
    arguments: the name of the shell. Raises SetupError for another one.
    """
    scripts = {"bash": BASH, "zsh": ZSH, "fish": FISH}
    shell = arguments[0] if arguments else ""
    if shell not in scripts:
        raise SetupError(f"--completion needs the name of a shell, not '{shell}'; {did_you_mean(shell, scripts)}")
    lines = "\n".join(
        f'complete -c melt-ser -n __fish_use_subcommand -a {verb} -d "{purpose}"' for verb, purpose in verbs.items()
    )
    print(scripts[shell].format(verbs=" ".join(verbs), hydra_verbs=HYDRA_VERBS, lines=lines), end="")
    return 0
