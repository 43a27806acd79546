# ruff: noqa: RUF001 - the texts are meant to have the characters that look like others
"""Short varied texts: code, prose, markup, JSON, numbers, emoji, many scripts, white space."""

import json
import random
import sysconfig
from collections.abc import Callable
from pathlib import Path

WINDOW = 100  # characters

# First and last letters of stretches of scripts, in the order of Unicode.
SCRIPTS = (
    (0x61, 0x7A),  # Latin
    (0xC0, 0x17F),
    (0x391, 0x3C9),  # Greek
    (0x410, 0x44F),  # Cyrillic
    (0x561, 0x586),  # Armenian
    (0x5D0, 0x5EA),  # Hebrew
    (0x621, 0x652),  # Arabic with its marks
    (0x905, 0x94D),  # Devanagari with its marks
    (0x993, 0x9A8),  # Bengali
    (0xB92, 0xBB9),  # Tamil
    (0xE01, 0xE4C),  # Thai
    (0xF40, 0xF69),  # Tibetan
    (0x10D0, 0x10F0),  # Georgian
    (0x1200, 0x135A),  # Ethiopic
    (0x13A0, 0x13F4),  # Cherokee
    (0x1780, 0x17A2),  # Khmer
    (0x1EA0, 0x1EF9),  # Vietnamese
    (0x3041, 0x30F6),  # kana
    (0x4E00, 0x9FFF),  # ideographs
    (0xAC00, 0xD7A3),  # Hangul
    (0xFF01, 0xFF5E),  # fullwidth forms
    (0x10330, 0x1034A),  # Gothic
    (0x1D400, 0x1D454),  # mathematical letters
    (0x20000, 0x2A6DF),  # rare ideographs
)
SENTENCES = (
    "The quick brown fox doesn't jump; it's 7 o'clock, they'll say.",
    "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich – „schnell“.",
    "L’été dernier, nous n’avons pas vu d’œuvres à 12 €.",
    "Съешь же ещё этих мягких французских булок, да выпей чаю.",
    "色は匂へど散りぬるを。カタカナと漢字、2024年12月31日。",
    "天地玄黃，宇宙洪荒。他说：“你好，世界！”",
    "키스의 고유조건은 입술끼리 만나야 하고 특별한 기술은 필요치 않다.",
    "أبجد هوز حطي كلمن، ١٢٣٤٥ سعفص.",
    "ऋषियों को सताने वाले दुष्ट राक्षसों के राजा रावण, १२३।",
    "นายสังฆภัณฑ์ เฮงพิทักษ์ฝั่ง ผู้เฒ่า ๑๒๓",
    "Ξεσκεπάζω τὴν ψυχοφθόρα βδελυγμία.",
    "דג סקרן שט בים מאוכזב ולפתע מצא חברה.",
)
EMOJI = (
    "😀",
    "👍🏽",
    "👩‍💻",
    "👨‍👩‍👧‍👦",
    "🇩🇪",
    "1️⃣",
    "❤️",
    "🏳️‍🌈",
    "🧑🏿‍🚀",
    "☀",
    "✅",
    "→",
    "…",
    "™",
)
SPACES = (" ", "  ", "   ", "\t", "\n", "\n\n", "\r\n", "    ", "\n\t", " \n", "\u00a0", "\u3000")
WORDS = (
    "foo",
    "return",
    "the",
    "Ünï",
    "日本",
    "(x)",
    "42",
    "'s",
    "--",
    "}",
    "{",
    "a.b",
    "😀",
    "don't",
)


def _code(draw: random.Random) -> str:
    files = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))
    return window(draw.choice(files).read_text(encoding="utf-8"), draw)


def _prose(draw: random.Random) -> str:
    return " ".join(draw.choices(SENTENCES, k=2))[draw.randrange(20) :][:WINDOW]


def _markup(draw: random.Random) -> str:
    tag, word = draw.choice(["p", "div", "h1", "td"]), draw.choice(SENTENCES)[:40]
    forms = (
        f'<{tag} class="a-{draw.randrange(100)}">{word}</{tag}>\n',
        f"## {word}\n\n* **{word[:9]}** `x_{draw.randrange(10)}`\n",
        f"[{word}](https://example.org/{draw.randrange(10**6)}?q={word[:3]}&amp;r=1#s)",
        f"\\section{{{word}}}\n\\begin{{{tag}}}% {word[:5]}\n",
    )
    return draw.choice(forms)


def _json(draw: random.Random) -> str:
    value = {
        "id": draw.randrange(10**9),
        draw.choice(["name", "größe", "x-y"]): draw.choice(SENTENCES)[:30],
        "list": [draw.random(), None, True, draw.choice(EMOJI)],
    }
    return json.dumps(value, indent=draw.choice([None, 2, 4]), ensure_ascii=draw.random() < 0.3)


def _numbers(draw: random.Random) -> str:
    number = draw.randrange(10 ** draw.randint(1, 15))
    forms = (
        f"{number}",
        f"{number:,}",
        f"{number:#x}",
        f"{number / 7:.5e}",
        f"${number / 100:.2f}",
    )
    others = ("10²", "½", "2024-12-31", "23:59", "١٢٣٤", "１２３４５", "100%", "-1.5", "3×4=12")
    return draw.choice(SPACES).join(draw.choices(forms + others, k=draw.randint(2, 8)))


def _emoji(draw: random.Random) -> str:
    parts = draw.choices((*EMOJI, " ", "ok", "!", chr(draw.randrange(0x1F300, 0x1FAF0))), k=16)
    return "".join(parts)


def _scripts(draw: random.Random) -> str:
    words = []
    for _ in range(draw.randint(2, 8)):
        first, last = draw.choice(SCRIPTS)
        words.append("".join(chr(draw.randint(first, last)) for _ in range(draw.randint(1, 8))))
    return draw.choice([" ", ", ", "-", "。"]).join(words)


def _white_space(draw: random.Random) -> str:
    return "".join(draw.choice(draw.choice([SPACES, WORDS])) for _ in range(draw.randint(3, 20)))


KINDS: tuple[Callable[[random.Random], str], ...] = (
    _code,
    _prose,
    _markup,
    _json,
    _numbers,
    _emoji,
    _scripts,
    _white_space,
)


def made_up_lines(count: int, draw: random.Random) -> list[str]:
    """As many of each kind as there are of any other."""
    return [KINDS[i % len(KINDS)](draw) for i in range(count)]


def lines_of_files(files: list[Path], count: int, draw: random.Random) -> list[str]:
    """Windows at random places of text files."""
    texts = [path.read_text(encoding="utf-8") for path in files]
    return [window(draw.choice(texts), draw) for _ in range(count)]


def window(text: str, draw: random.Random) -> str:
    """Some characters in a row, one at least."""
    start = draw.randrange(max(1, len(text) - WINDOW))
    return text[start : start + draw.randint(1, WINDOW)]
