"""The values that the command line takes, read from text as argparse does it."""

import argparse
import math


def count(text: str) -> int:
    """An integer from 1 on."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r:.80}: needs an integer from 1 on")
    return value


def token_id(text: str) -> int:
    """An integer from 0 on."""
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r:.80}: needs a token's id")
    return int(text)


def rate(text: str) -> float:
    """A number from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r:.80}: needs a number from 0 to 1")
    return value


def threshold(text: str) -> tuple[str, float]:
    """A rate with the name of what it is for, as NAME=RATE; "" for a rate alone."""
    name, _, value = text.rpartition("=")
    return name, rate(value)


def lengths(text: str) -> tuple[int, ...]:
    """Integers from 1 on, with commas between them."""
    return tuple(count(part) for part in text.split(","))


def special(text: str) -> tuple[str, int]:
    """A token's text and its id, with the last "=" between them."""
    content, _, token_id = text.rpartition("=")
    if not content or not (token_id.isascii() and token_id.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r:.80}: needs TEXT=ID, as in <|end|>=100257")
    return content, int(token_id)
