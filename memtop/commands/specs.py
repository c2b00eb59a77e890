"""`memtop specs`."""

from __future__ import annotations

import os

import click

from memtop.terminal import print_json, print_text, terminal_size


@click.command("specs")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def command(as_json: bool) -> int:
    """This machine's CPU and GPUs."""
    from memtop.collectors.host import host_spec
    from memtop.collectors.nvml import Nvml
    from memtop.model import specs_text

    nvml = Nvml.open()
    gpus, note = (
        (nvml.specs(nvml.guess_visible(os.environ)), None)
        if isinstance(nvml, Nvml)
        else ((), f"{nvml.reason}; {nvml.remedy}")
    )
    if as_json:
        return print_json(specs_text.to_json(host_spec(), gpus, note))
    return print_text("\n".join(specs_text.lines(host_spec(), gpus, note, terminal_size()[0])))
