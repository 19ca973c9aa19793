"""nbsp check: the rules as texts, without root, daemon or kernel."""

from __future__ import annotations

from pathlib import Path

import click

from ..paths import RULES
from .table import clean, facts, paint
from .verb import FOLDER, Answer, verb


@verb("check", "nbsp check ./rules.d", is_remote=False,
      options=[click.Argument(["paths"], nargs=-1, metavar="[PATH]...", type=FOLDER)])
def check(paths: tuple[Path, ...]) -> Answer:
    """Validate rule files, or folders of them, taken together as one set (default: /etc/nbspd/rules.d).

    Every problem is shown as file:line:col, what is wrong, what would be right; then the exit code is 1. What is legal
    and probably not meant is shown in the same way, after an exclamation mark, and leaves the exit code 0. What only
    this host can tell (whether a program, user or unit exists) is checked by nbsp reload, which changes nothing
    when something is wrong.
    """
    from ..rules.compile import compile_rules
    from ..rules.lint import find_absent_folders, find_advice
    from ..rules.load import Source, load_directory, load_file, parse_sources
    from .permission import closed

    chosen = paths or (RULES,)
    sources: list[Source] = []
    for path in chosen:
        if hindrance := closed(path):
            sources.append(Source(str(path), "", hindrance))
        elif path.is_dir() or not path.exists():
            sources += load_directory(path)
        else:
            sources.append(load_file(path))
    rule_set = parse_sources(sources)
    plan = compile_rules(rule_set)
    advice = [*find_advice(rule_set), *find_absent_folders(rule_set)]
    data = {"paths": [str(path) for path in chosen], "files": len(sources), "checkpoints": len(rule_set.checkpoints),
            "resources": len(rule_set.resources), "rules": len(rule_set.rules), "digest": plan.digest,
            "advice": [{"where": each.where, "what": each.what, "right": each.right} for each in advice]}
    counts = ", ".join(f"{data[what]} {what}" for what in ("files", "checkpoints", "resources", "rules"))
    lines = [facts([("no problems", counts), ("digest", plan.digest)]),
             *(paint(f"! {clean(each)}", "pending") for each in advice)]
    return Answer(data, "\n".join(lines))
