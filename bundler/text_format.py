"""The options that say how a bundle's texts are made, of every verb that writes a bundle."""

import argparse
from typing import TYPE_CHECKING, Any

from .arguments import token_id

if TYPE_CHECKING:
    from .settings import BundleSettings

_ROLES = ("user", "system", "model", "end")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options that `settings` reads."""
    group = parser.add_argument_group(
        "text format", "What is not given is taken from the checkpoint's files and chat template."
    )
    group.add_argument("--start-token", metavar="T", help="the runtime begins every chat with it")
    group.add_argument(
        "--stop-token", metavar="T", action="append", dest="stop_tokens", help="may be repeated"
    )
    for name, what in {
        "session": "once, after the start token",
        "user": "before and after what the user says",
        "model": "before and after what the model says",
        "system": "before and after a system message",
    }.items():
        group.add_argument(f"--{name}-prefix", metavar="TEXT", help=what)
        if name != "session":
            group.add_argument(f"--{name}-suffix", metavar="TEXT")
    for role in _ROLES:
        what = "ends a turn" if role == "end" else f"begins a turn of the {role}"
        group.add_argument(f"--{role}-role-token", metavar="T", help=f"{what}, for an app to ask")
    group.add_argument(
        "--suppress-token",
        type=token_id,
        metavar="ID",
        action="append",
        dest="suppressed_tokens",
        help="an id that no answer may hold, for engines that know of it, as the web's does; may "
        "be repeated",
    )
    group.add_argument(
        "--channel",
        nargs=3,
        metavar=("NAME", "START", "END"),
        action="append",
        dest="channels",
        help="the answer between START and END is told apart as NAME, such as thoughts, by the "
        "same engines; may be repeated",
    )


def settings(arguments: argparse.Namespace) -> "BundleSettings":
    """What the user says, of the parsed arguments."""
    from .metadata import Channel
    from .settings import BundleSettings

    sides = ("prefix", "suffix")
    names = [f"{role}_{side}" for role in ("user", "model", "system") for side in sides]
    names += [f"{role}_role_token" for role in _ROLES]
    given: dict[str, Any] = {
        name: getattr(arguments, name) for name in ("start_token", "session_prefix", *names)
    }
    for name in ("stop_tokens", "suppressed_tokens"):
        given[name] = tuple(getattr(arguments, name) or ()) or None
    given["channels"] = tuple(Channel(*texts) for texts in arguments.channels or ()) or None
    # of `bundle` alone: a tokenizer that was built here has other pieces
    given["bytes_to_unicode"] = getattr(arguments, "bytes_to_unicode", None)
    return BundleSettings(**given)
