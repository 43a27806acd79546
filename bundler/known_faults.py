"""What is known of faults in a bundle's layout and text format, by the codes of their findings.

The engines' words: litert-lm-api 0.18.1 was run on a broken file for each (docs/doctor.md);
MediaPipe's stand in the issues of google-ai-edge/mediapipe, by the number in brackets.
"""

from collections.abc import Mapping

from .findings import ERROR, NOTE, WARNING, Known

_AGAIN = "get the file anew and compare its size, or build it anew"
_BUILD = "build it with taskpress build or taskpress bundle"
_NO_ARCHIVE = "Unable to open zip archive."
_NO_READ = "Unable to read the file in zip archive."

FILE: Mapping[str, Known] = {
    "file.empty": Known(
        ERROR,
        "there is nothing to load",
        _AGAIN,
        ("Failed to map, error: Invalid argument",),
    ),
    "file.kind": Known(
        ERROR,
        "engines go by the file's extension, and read it as what it is named",
        "name it by what it is, or get the right file: sites that need a login give a page instead",
        (_NO_ARCHIVE, "Invalid magic number. Expected 'LITERTLM', got '"),
    ),
    "file.runtime": Known(
        WARNING,
        "not every release of this runtime opens this kind of file",
        "give --runtime, or build the other kind of bundle",
        ("Unsupported or unknown file format.",),
    ),
}

ARCHIVE: Mapping[str, Known] = {
    "archive.directory": Known(
        ERROR,
        "the list of the entries stands at the end of the file: what is cut off has none",
        _AGAIN,
        (
            _NO_ARCHIVE,
            "Failed to initialize engine: %sUNKNOWN: Unable to open zip archive. "
            "[MediaPipeTasksStatus='104'] (mediapipe #6063)",
        ),
    ),
    "archive.compressed": Known(
        ERROR,
        "engines map the entries where they lie in the file, and refuse what must be unpacked",
        f"{_BUILD}; with zip, `zip -0`; with Python, ZIP_STORED",
        ("Expected uncompressed zip archive.",),
    ),
    "archive.encrypted": Known(
        ERROR,
        "engines ask for no password: they would read the encrypted bytes as they are",
        _BUILD,
    ),
    "archive.missing": Known(
        ERROR,
        "the engine looks for exactly this name",
        _BUILD,
        (
            "TF_LITE_PREFILL_DECODE model file not found in task bundle.",
            "NOT_FOUND: No file with name: TOKENIZER_MODEL. "
            "All files in the model asset bundle are: ",
            "NOT_FOUND: No file with name: METADATA. All files in the model asset bundle are: ",
        ),
    ),
    "archive.name": Known(
        WARNING,
        "no engine looks for this name; its bytes take room",
        "leave the entry out",
    ),
    "archive.traversal": Known(
        ERROR,
        "a tool that unpacks the bundle would write outside of its folder",
        "do not unpack the file; get it from someone you trust",
    ),
    "archive.duplicate": Known(
        ERROR,
        "readers differ in which of the two they take",
        _BUILD,
    ),
    "archive.alignment": Known(
        ERROR,
        "the entry is read in place, and its numbers must lie on multiples of their size; "
        "LiteRT-LM on x86 bears with it, other processors need not",
        _BUILD,
    ),
    "archive.local_header": Known(
        ERROR,
        "the two records that a zip has of each entry differ, and readers in which they believe",
        _BUILD,
    ),
    "archive.bounds": Known(
        ERROR,
        "the entry would reach past the end of the data",
        _AGAIN,
        (_NO_READ,),
    ),
    "archive.overlap": Known(
        ERROR,
        "two entries claim the same bytes: one of them is not what it was",
        _AGAIN,
        (_NO_READ,),
    ),
    "archive.checksum": Known(
        ERROR,
        "the bytes are not those that were written; no engine checks, and answers get worse",
        _AGAIN,
    ),
    "archive.refused": Known(
        ERROR,
        "taskpress cannot read this archive, so that nothing more of it was checked",
        _AGAIN,
    ),
    "archive.web": Known(
        WARNING,
        "MediaPipe's loader for the web knows a bundle by PK in its first 6 bytes",
        _BUILD,
    ),
}

SECTIONS: Mapping[str, Known] = {
    "sections.version": Known(
        ERROR,
        "an engine refuses another major version of the format",
        "repack it with taskpress repack, or use an engine of that version",
        ("Unimplemented Error: This reader doesn't support version ",),
    ),
    "sections.header": Known(
        ERROR,
        "the header says what lies where; without it there is nothing to load",
        _AGAIN,
        (
            "Invalid header end offset: smaller than current position.",
            "Failed to read header data.",
        ),
    ),
    "sections.bounds": Known(
        ERROR,
        "the section would lie outside of the file",
        _AGAIN,
        (
            "has invalid offsets: begin_offset (",
            ") are too large for file size (",
            ") is greater than file size (",
            "The file might not have enough padding.",
            "Invalid LiteRT-LM section range: [",
        ),
    ),
    "sections.overlap": Known(
        ERROR,
        "two sections claim the same bytes: one of them is not what it was",
        _AGAIN,
    ),
    "sections.alignment": Known(
        ERROR,
        "a section is mapped by itself, which systems do on multiples of 16 KiB (or 4) alone",
        "repack it with taskpress repack",
    ),
    "sections.duplicate": Known(
        ERROR,
        "the engine takes the last of the two, other readers the first",
        "repack it with taskpress repack",
    ),
    "sections.kind": Known(
        WARNING,
        "this version of the format has no such kind of section",
        "use an engine that knows it, or leave it out",
    ),
    "sections.missing": Known(
        ERROR,
        "the engine needs a model of type tf_lite_prefill_decode, one tokenizer and LlmMetadata",
        "repack it with taskpress repack, or build it anew",
        (
            "No tokenizer found in the model for model type: ",
            "Failed to create engine: NOT_FOUND",
            "Model not found in resources: ",
        ),
    ),
    "sections.model_type": Known(
        ERROR,
        "the engine finds a model by its type, and knows no such one",
        "name the type tf_lite_prefill_decode for an LLM's only model",
        ("Unknown model type: ",),
    ),
}

TEXT: Mapping[str, Known] = {
    "metadata.unreadable": Known(
        ERROR,
        "without it the engine knows no start and no stop tokens",
        _BUILD,
        (
            "INVALID_ARGUMENT: Failed to parse LlmMetadata and LlmParameters.",
            "Failed to parse LlmMetadata",
        ),
    ),
    "metadata.runtime": Known(
        WARNING,
        "MediaPipe looks for the start token in LlmParameters' own field; only releases that hand "
        "the file to LiteRT-LM can read this",
        "build it with --metadata both, or with LlmParameters",
    ),
    "metadata.token": Known(
        ERROR,
        "the model has no such token, or the tokenizer is another model's",
        "name tokens that the tokenizer has",
        ("Invalid token ID: ",),
    ),
    "metadata.bytes_to_unicode": Known(
        ERROR,
        "the engine would map every text to GPT-2's byte alphabet, in which no piece is spelled",
        "bundle it without BYTES_TO_UNICODE (enable_bytes_to_unicode_mapping)",
    ),
    "metadata.bytes_to_unicode_missing": Known(
        ERROR,
        "the pieces are spelled in GPT-2's byte alphabet, and the engine would not map it: spaces "
        "come out as \u0120",
        "make the tokenizer with taskpress tokenizer, or bundle it with BYTES_TO_UNICODE",
    ),
    "start.none": Known(
        ERROR,
        "MediaPipe begins each chat with the token of this text, and an empty one is the unknown "
        "token; LiteRT-LM begins with none",
        "name the start token: taskpress bundle --start-token",
    ),
    "start.empty": Known(
        ERROR,
        "LiteRT-LM looks for the first id of it, and its process ends",
        "give a token, leave the field out, or write the id -1, as taskpress repack does",
        ("Index out of bounds", "litert::lm::SessionConfig::MaybeUpdateAndValidate()"),
    ),
    "start.unknown": Known(
        ERROR,
        "the engine begins each chat with the unknown token instead, and does not say so",
        "name a token that the tokenizer has: taskpress bundle --start-token",
        ("The start token has more than one token ids: ",),
    ),
    "stop.none": Known(
        ERROR,
        "an answer would go on until the cache is full",
        "name them: taskpress bundle --stop-token",
        (
            "Stop tokens are required. Either set the stop token ids or provide a valid stop token "
            "in the model file/engine settings.",
            "Required: set stop tokens, or provide LlmMetadata.",
        ),
    ),
    "stop.several_ids": Known(
        ERROR,
        "the model never gives this text as one token, so that answers do not stop",
        "name the one token that ends an answer: taskpress bundle --stop-token",
    ),
    "stop.ordinary": Known(
        ERROR,
        "answers stop in mid-sentence, wherever this piece occurs",
        "name the token that ends an answer: taskpress bundle --stop-token",
    ),
    "stop.white_space": Known(
        ERROR,
        "answers stop at their first line, or word (LiteRT-LM #950)",
        "name the token that ends an answer: taskpress bundle --stop-token",
    ),
    "template.dropped": Known(
        WARNING,
        "LiteRT-LM makes a chat template of the prefixes by role, which has no session prefix, and "
        "feeds the model nothing of what follows the stop token of an answer: it reads other texts "
        "than it was trained on",
        "give it a chat template: taskpress repack --metadata litertlm",
    ),
    "template.start_repeated": Known(
        WARNING,
        "the engine writes the start token by itself; the model sees it twice, which it was not "
        "trained on",
        "leave it out of the prefix",
        ("Input contains bos control token. Control token should not be included in the input.",),
    ),
    "template.control_token": Known(
        ERROR,
        "SentencePiece gives a control piece for no text: the model sees its letters instead",
        "make it a user-defined piece: taskpress tokenizer does",
    ),
    "template.syntax": Known(
        ERROR,
        "the engine renders each chat with this template",
        "mend the template; taskpress build writes one that the engine can run",
        ("Failed to apply template: ", "Template creation failed: syntax error: "),
    ),
    "template.python": Known(
        WARNING,
        "the engine runs templates with Minijinja, which has no methods of Python's (LiteRT-LM "
        "#3021, #1005)",
        "use filters instead of methods; taskpress build writes a template that the engine can run",
        ("Failed to apply template: ", "unknown method: map has no method named get"),
    ),
    "tokenizer.json": Known(
        ERROR,
        "a .task holds a SentencePiece model, and this is a tokenizer.json",
        "convert it: taskpress tokenizer; or build a .litertlm, which may hold either",
        ("model_proto->ParseFromString(serialized)",),
    ),
    "tokenizer.unreadable": Known(
        ERROR,
        "the engine, or its next version, cannot load the tokenizer",
        "make it anew: taskpress tokenizer",
        (
            "RET_CHECK failure (third_party/sentencepiece/src/sentencepiece_processor.cc:265) "
            "model_proto->ParseFromString(serialized)",
            " is already defined.",
        ),
    ),
    "tokenizer.vocabulary": Known(
        ERROR,
        "texts with the pieces beyond give ids that the model has no embedding for",
        "bundle the model with its own tokenizer",
    ),
    "tokenizer.fewer": Known(
        NOTE,
        "models often have a few rows more, for the speed of it; an id without a piece is no text",
        "nothing, if the tokenizer is the model's own",
    ),
}

KNOWN: Mapping[str, Known] = {**FILE, **ARCHIVE, **SECTIONS, **TEXT}
