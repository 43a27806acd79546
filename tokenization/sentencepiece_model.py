"""Writes a byte-level BPE tokenizer as a SentencePiece model that gives the same ids.

The original cuts a text into pre-tokens with a regular expression, then merges bytes inside each by
rank. SentencePiece has no expression: it merges over the whole text, by the score of the merged
piece. The stock library offers four means that together do what the expression does.

1. Letters. Its normalizer rewrites the longest key at each position, on raw bytes, so that every
   byte of the text becomes one character ("letter", see `spelling`) and pieces are written in
   letters. With score = -rank it then is byte-level BPE, exactly; its denormalizer writes letters
   back as bytes when it decodes.
2. Stages. Most merges that would cross a cut have no piece, since no pre-token of the training text
   held both sides. The exceptions are runs of spaces: in "  \\tfoo" the expression cuts the last
   space off the run ("  ", then "\\t", "foo"), and a piece "  \\t" may exist. So scores put all
   merges of words before all merges of spaces (`plan.Stage`): "foo" is whole by then.
3. Glue. A piece of type UNUSED is merged like any other, but taken apart again into the two symbols
   that made it when all is done. Between words and spaces comes glue for each space with each token
   that may follow it: "\\t" + "foo" become one symbol, with which no run of spaces merges, and are
   the ids of "\\t" and "foo" again at the end. Where a run is not cut, as before a lone number,
   there is no such glue and the run merges as a whole: "  12345" is "  ", "1", "2", "3", "4", "5",
   the digits one by one since no piece holds two of them. Likewise letters of several tokens are
   glued before marks are merged that could take the last byte of one (`edges`, `closed`).
4. Keys with context. What one position decides by its neighbours is a longer key: "'s" becomes a
   private letter, the contraction, but behind a mark, where the expression takes the apostrophe
   for the mark's run, the key is the mark and the apostrophe and writes both as they are. Likewise
   a space in front of a character of three bytes and more, whose first bytes it may be merged with
   (`wide`), "/*" and lines of slashes behind a line of marks (`comments`), and empty lines behind
   spaces (`lines`). A row of marks has such keys by what is left of it behind each 16.

Added tokens are USER_DEFINED: SentencePiece finds them before it normalizes, as the original does,
and nothing merges with them. A token that its expression always cuts is never given by the original
and must not form here: it is spelled by a private letter that no text has.

The trap in all of this: an id has one spelling, and each character of the normalized text ends up
in some id. A cut can therefore not be written into the text; it must follow from letters that are
there, from the order of merges, or from glue. A mark that may begin a word ("(foo") may not when a
mark or a space stands in front of it: runs of marks are merged first, and glue binds such a mark to
its run; an emoji of several tokens is written by them, each a letter, so that it is one symbol by
then (`marks`). Numbers in groups of three are keys of two and three digits, which take the text
from the left as the expression does: "12345" in Llama 3 is the key "123" and the key "45".

Where glue for all cases would be many megabytes, it is made for the most frequent of them, judged
by the ranks of merges (`glue`, `wide`). What is left over is rare (docs/tokenizers.md has rates):
- expressions that count digits from the right, take several words as one, or cut spaces by twos:
  these are measured when they are built, and said (bundler/rebuild.py);
- contractions that are not one token, as "'Ve" in Llama 3, when letters follow ("'Version'"); those
  that o200k takes as the end of a word, likewise;
- groups of numbers of several scripts, beyond Latin-1; runs of three kinds of spaces and more;
- a mark that begins a word behind a mark of several tokens that is a rare symbol, has two bytes, or
  shares a token with what stands beside it, and behind three marks and more of which some
  are beyond ASCII and rare; marks of two bytes behind a space, where letters take the first one
  before a space does; an emoji directly in front of those letters with which it shares one;
  tabs in front of rare pairs of marks, and of rare words where a vocabulary is large;
- combining marks behind marks where they are letters too and few words begin with them;
- letters beyond ASCII that an expression cuts from ASCII ones (DeepSeek's "-Pr|äs"), and from those
  of another case where a token ends inside of one (o200k's "Начало|След");
- words that are taken whole although no merges make them (`ignore_merges`), behind two marks or a
  rare one; the longest of those without a space in front where a vocabulary is large;
- letters of several tokens in front of marks that a token joins to their last byte: such a letter
  alone behind a tab, a line or several spaces ("\t\u56f3\","), and those of blocks of many marks
  ("\u2139\","); marks of several tokens beside a letter or number beyond ASCII, where a token joins
  the last byte of one and the first of the other ("\u00d7\u306e"); marks whose last two bytes are a
  token, where another has their first bytes with a mark in front ('"\U0001f41c'); marks of three
  tokens that are cut between their bytes;
- three marks and more, or two of different scripts, that NFC would write in another order;
- four and more apostrophes between a mark beyond ASCII and the letters of a contraction, or one
  behind a character that Unicode does not assign;
- lines of slashes behind a line of marks, but for three lines of as many each, and two of any;
- a space in front of a character that Unicode does not assign, where others of its block are cut,
  and of a number of several tokens whose first byte begins letters too (Gujarati's in Llama 3);
- a letter beyond ASCII in front of a character beyond plane 3, where a token joins bytes of both;
- an added token that begins inside of what a key takes: "\ufe0f!" behind "\u2764";
- bytes that are not in the vocabulary, which the original drops but still cuts at; the rest of a
  four-byte character without its first byte does not decode to UTF-8;
- several null characters in a row, which SentencePiece counts as one.
"""

from collections.abc import Callable
from typing import Any

from google.protobuf.message import DecodeError
from sentencepiece import SentencePieceProcessor, sentencepiece_model_pb2

from . import FULL, PLAIN, TokenizerError, metaspace
from .compiler import compile_plan
from .double_array import charsmap
from .plain import NULL_SHOWN
from .plan import Plan, Role, Stage
from .pre_tokenizer import recognise
from .spelling import LETTERS_OF_BYTES, byte_letter
from .tokenizer_json import FILE_NAME, SpecialIds, Vocabulary, original, vocabulary

proto: Any = sentencepiece_model_pb2  # generated at import, unknown to type checkers
NO_ID = -1  # SentencePiece's word for a token that the model does not have
STAGE_SIZE = 2**20  # merges that a stage can hold; float32 scores are exact for 16 such stages
MAX_RANK = STAGE_SIZE - 1
PIECE_TYPES = {
    Role.TOKEN: proto.ModelProto.SentencePiece.NORMAL,
    Role.GLUE: proto.ModelProto.SentencePiece.UNUSED,
    Role.ADDED: proto.ModelProto.SentencePiece.USER_DEFINED,
    Role.NEVER: proto.ModelProto.SentencePiece.CONTROL,
    Role.UNKNOWN: proto.ModelProto.SentencePiece.UNKNOWN,
}


def build(
    document: dict[str, Any],
    progress: Callable[[float], None] | None = None,
    *,
    specials: SpecialIds | None = None,
    where: str = FILE_NAME,
    form: str = FULL,
) -> bytes:
    """The bytes of a SentencePiece model with the ids of a validated tokenizer.json document.

    progress: called with 0.0 to 1.0; where: begins the message of a TokenizerError, raised when
    the document asks for something that cannot be rebuilt; form: FULL, or PLAIN for runtimes that
    read pieces one by one (`plain`). The same document gives the same bytes.
    """
    tell = progress or (lambda fraction: None)
    tell(0.0)
    if metaspace.is_metaspace(document):
        model = metaspace.build(document, specials or SpecialIds(), where)
        tell(1.0)
        return model
    asked = original(document, where)
    rules = recognise(document, asked, where)
    words = vocabulary(document, where)
    _check_normalizer(document.get("normalizer"), where)
    _check_fits(words, where)
    plan = compile_plan(words, rules, asked, readable=form == PLAIN)
    _check_added(plan, where)
    tell(0.4)
    model = serialize(plan, specials or SpecialIds())
    tell(1.0)
    return model


def _check_normalizer(normalizer: dict[str, Any] | None, where: str) -> None:
    """Refuses a normalizer that does more than to compose characters."""
    if normalizer is None or normalizer.get("type") == "NFC":
        return
    if normalizer.get("type") != "Sequence":
        raise TokenizerError(
            f"{where}: normalizer is {normalizer.get('type')!r}; only none and NFC can be rebuilt"
        )
    for part in normalizer.get("normalizers") or []:
        _check_normalizer(part, where)


def _check_fits(words: Vocabulary, where: str) -> None:
    """Refuses what the model cannot hold: ranks past a stage, null, letters of bytes."""
    if max(words.ranks.values(), default=0) >= MAX_RANK:
        raise TokenizerError(
            f"{where}: model.merges has more than {MAX_RANK} merges; no more can be rebuilt"
        )
    for token in words.added.values():
        kept_out = [c for c in token.content if c == "\0" or ord(c) in LETTERS_OF_BYTES]
        if kept_out:
            raise TokenizerError(
                f"{where}: the added token {token.content!r} has {kept_out[0]!r}; "
                "it cannot be rebuilt with null or a character from U+0180 to U+01FF"
            )


def _check_added(plan: Plan, where: str) -> None:
    """Refuses an added token that another piece is written as: SentencePiece takes each once."""
    others = {piece.text for piece in plan.pieces if piece.role is not Role.ADDED}
    for piece in plan.pieces:
        if piece.role is Role.ADDED and piece.text in others:
            raise TokenizerError(
                f"{where}: the added token {piece.text!r} is how the rebuilt model writes another "
                "token; only tokens without it can be rebuilt"
            )


def serialize(plan: Plan, specials: SpecialIds) -> bytes:
    """The ModelProto of a plan. Source: sentencepiece, sentencepiece_model.proto."""
    model = proto.ModelProto()
    for piece in plan.pieces:
        entry = model.pieces.add(piece=piece.text)
        if piece.role is not Role.TOKEN:  # NORMAL is the default, which need not be written
            entry.type = PIECE_TYPES[piece.role]
        if score := float((Stage.CUT - piece.stage) * STAGE_SIZE - piece.rank):
            entry.score = score
    _describe(model.trainer_spec, plan, specials)
    for spec, keys in (
        (model.normalizer_spec, plan.normalizer),
        (model.denormalizer_spec, plan.denormalizer),
    ):
        spec.name = "byte_letters"
        spec.precompiled_charsmap = charsmap(keys)
        spec.add_dummy_prefix = False
        spec.remove_extra_whitespaces = False
        spec.escape_whitespaces = False
    return model.SerializeToString(deterministic=True)


def _describe(trainer: Any, plan: Plan, specials: SpecialIds) -> None:
    (unknown,) = [i for i, piece in enumerate(plan.pieces) if piece.role is Role.UNKNOWN]
    trainer.model_type = proto.TrainerSpec.BPE
    trainer.vocab_size = len(plan.pieces)
    trainer.unk_id = unknown
    trainer.unk_piece = plan.pieces[unknown].text
    is_null = trainer.unk_piece in (byte_letter(0), NULL_SHOWN)
    trainer.unk_surface = "\0" if is_null else "\N{REPLACEMENT CHARACTER}"
    for name in ("bos", "eos", "pad"):
        token_id = getattr(specials, name)
        setattr(trainer, f"{name}_id", NO_ID if token_id is None else token_id)
        if token_id is not None:
            setattr(trainer, f"{name}_piece", plan.pieces[token_id].text)


def check(model: bytes, where: str) -> int:
    """Checks that a SentencePiece model made by others can be used as it is.

    Returns its number of pieces; raises TokenizerError, beginning with `where`, when it does not
    parse, is empty, has not exactly one unknown piece or is refused by SentencePiece.
    """
    try:
        parsed = proto.ModelProto.FromString(model)
    except DecodeError as error:
        raise TokenizerError(
            f"{where}: {len(model)} bytes that are no ModelProto; a SentencePiece model is needed"
        ) from error
    unknown = sum(piece.type == PIECE_TYPES[Role.UNKNOWN] for piece in parsed.pieces)
    if unknown != 1:
        raise TokenizerError(
            f"{where}: {len(parsed.pieces)} pieces, {unknown} of them unknown; "
            "a SentencePiece model with exactly one unknown piece is needed"
        )
    try:
        return SentencePieceProcessor(model_proto=model).get_piece_size()
    except RuntimeError as error:
        raise TokenizerError(f"{where}: refused by SentencePiece: {error}") from error
    except UnicodeDecodeError as error:  # SentencePiece quotes the bytes that it cannot use
        raise TokenizerError(
            f"{where}: refused by SentencePiece for bytes that are not UTF-8: {error}"
        ) from error
