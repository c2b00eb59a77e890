"""The keys: each with an id, words for the footer and a sentence for the help."""

from __future__ import annotations

from typing import Final

import msgspec
from textual.binding import Binding, BindingType


def _key(keys: str, action: str, words: str, id: str, tooltip: str, display: str | None = None) -> Binding:
    return Binding(keys, action, words, id=id, tooltip=tooltip, key_display=display, show=False)


TRAINING: Final = "Training"
LOOKING: Final = "Looking"
APP: Final = "memtop"

MAIN: Final[list[BindingType]] = [
    _key("s", "pick_scenario", "scenario", "scenario.pick", "Choose another training from the list"),
    _key("right_square_bracket,n", "next_scenario(1)", "next", "scenario.next", "The next scenario", "] or n"),
    _key("left_square_bracket,N", "next_scenario(-1)", "previous", "scenario.previous", "The one before", "[ or N"),
    _key("minus", "scale_batch(-1)", "batch", "batch.halve", "Half the batch size (a new process)", "-"),
    _key("plus,equals_sign", "scale_batch(1)", "batch", "batch.double", "Twice the batch size (a new process)", "+"),
    _key("b", "type_batch", "batch size", "batch.type", "Type a batch size"),
    _key("o", "cycle('o')", "optimizer", "setting.optimizer", "The next optimizer"),
    _key("p", "cycle('p')", "precision", "setting.precision", "The next precision: float32 or bfloat16 autocast"),
    _key("c", "cycle('c')", "checkpoint", "setting.checkpoint", "The next way of checkpointing activations"),
    _key("i", "cycle('i')", "in-place", "setting.inplace", "ReLUs in place, or not"),
    _key("comma", "settings", "settings", "setting.all", "All settings of this scenario", ","),
    _key("space", "pause", "pause", "training.pause", "Hold the training at its next step, or let it go on"),
    _key("r", "restart", "restart", "training.restart", "Begin this training anew"),
    _key(
        "d",
        "deep_look",
        "deep look",
        "look.deep",
        "Watch the next step whole: every tensor, by module and line (outside the budget)",
    ),
    _key("l", "log", "log", "log.toggle", "Write the records to a file in this folder, or stop"),
    _key("less_than_sign", "next_rank(-1)", "previous rank", "view.rank_before", "The rank before (of several)", "<"),
    _key(
        "greater_than_sign",
        "next_rank(1)",
        "next rank",
        "view.rank_next",
        "The next rank; after the last the first",
        ">",
    ),
    _key("k", "type_rank", "rank", "view.rank", "Type the number of a rank"),
    _key(
        "w", "worst_rank", "highest rank", "view.rank_highest", "Whichever rank's peak is highest: the maximum over all"
    ),
    _key("m", "moment", "moment", "view.moment", "Where a step holds most, one moment of it, or the run's highest"),
    _key(
        "P",
        "pin",
        "pin",
        "view.pin",
        "Keep this run's highest, and show the next runs' difference to it; again: let go",
    ),
    _key("x", "inside", "inside the step", "view.deep", "Inside a step: its course, modules, lines, tracked tensors"),
    _key("f", "what_if", "what if", "view.what_if", "Peak and largest batch under other settings, and try them"),
    _key("v,enter", "details", "details", "view.details", "Every figure with its formula, lesson and machine", "v"),
    _key("left_parenthesis", "speed(-1)", "slower", "replay.slower", "Play the log slower", "("),
    _key("right_parenthesis", "speed(1)", "faster", "replay.faster", "Play the log faster", ")"),
    _key("L", "lesson", "lesson", "view.lesson", "What to try, what should happen, and whether it did"),
    _key("e,O", "output", "output", "view.output", "All that the training has printed", "e"),
    _key("a", "answer", "answer", "training.answer", "Type a line to the training's stdin: Ctrl-C and Ctrl-D, too"),
]
"""Keys of the main screen."""

EVERYWHERE: Final[list[BindingType]] = [
    _key("u", "units", "units", "view.units", "KiB to GiB as fits, MiB, MB, or plain bytes"),
    _key("t", "theme", "theme", "view.theme", "Dark, light, high contrast, or the terminal's own 16 colours"),
    _key("ctrl+s", "picture", "screenshot", "app.screenshot", "Save this screen as an SVG file in this folder"),
    _key("question_mark,f1", "help", "help", "app.help", "These keys", "?"),
    _key("q", "leave", "quit", "app.quit", "End the training and leave; the log stays"),
    Binding(
        "ctrl+c",
        "leave",
        "quit",
        id="app.interrupt",
        tooltip="Leave, from anywhere",
        priority=True,
        show=False,
    ),
]
"""Keys of every full screen."""

BACK: Final[list[BindingType]] = [
    Binding("escape", "back", "back", id="screen.back", tooltip="Back to where you came from", key_display="esc"),
]


class Foot(msgspec.Struct, frozen=True):
    """One entry of the footer: the keys as a person reads them, the words, and the action behind them."""

    keys: str
    words: str
    action: str
    last: bool = False
    """Stands at the right end, whatever else finds room."""


RANKS: Final = ("rank", "highest rank")
"""Words of the footer that stand there only where there are several ranks."""

CHOOSING: Final = ("scenario", "batch", "next", "settings", "restart")
"""Words of the footer that stand there only where memtop chose the training."""

FOOTER: Final = (
    Foot("( )", "speed", "screen.speed(1)"),
    Foot("s", "scenario", "screen.pick_scenario"),
    Foot("- +", "batch", "screen.scale_batch(1)"),
    Foot("o", "optimizer", "screen.cycle('o')"),
    Foot("x", "inside", "screen.inside"),
    Foot("d", "deep look", "screen.deep_look"),
    Foot("< >", "rank", "screen.next_rank(1)"),
    Foot("w", "highest rank", "screen.worst_rank"),
    Foot("p", "precision", "screen.cycle('p')"),
    Foot("c", "checkpoint", "screen.cycle('c')"),
    Foot("space", "pause", "screen.pause"),
    Foot("l", "log", "screen.log"),
    Foot("v", "details", "screen.details"),
    Foot("f", "what if", "screen.what_if"),
    Foot("L", "lesson", "screen.lesson"),
    Foot("m", "moment", "screen.moment"),
    Foot("r", "restart", "screen.restart"),
    Foot("P", "pin", "screen.pin"),
    Foot("i", "in-place", "screen.cycle('i')"),
    Foot("e", "output", "screen.output"),
    Foot("a", "answer", "screen.answer"),
    Foot("[ ]", "next", "screen.next_scenario(1)"),
    Foot(",", "settings", "screen.settings"),
    Foot("u", "units", "app.units"),
    Foot("t", "theme", "app.theme"),
    Foot("?", "help", "app.help", last=True),
    Foot("q", "quit", "app.leave", last=True),
)
"""The footer, most wanted first."""

GROUPS: Final = {
    "scenario": TRAINING,
    "batch": TRAINING,
    "setting": TRAINING,
    "training": TRAINING,
    "look": TRAINING,
    "log": APP,
    "view": LOOKING,
    "replay": LOOKING,
    "app": APP,
}
"""The help's headings by the first word of a binding's id."""
