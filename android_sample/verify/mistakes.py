"""Plants mistakes into copies of the sample, and shows which step catches each.

usage: mistakes.py [--cache FOLDER] [NAME...]
Exits with 1 when one is not caught by the step that is named for it. Takes a few minutes.
"""

import argparse
import contextlib
import io
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import HERE, Bench
from steps import STEPS
from verify import CACHE, Result, get_carriers, run_step

_MAIN = "app/src/main/kotlin/com/example/taskpress"


@dataclass(frozen=True)
class Mistake:
    """In `file`, `good` is written as `bad`; `caught_by` is the step that must fail."""

    name: str
    caught_by: str
    file: str
    good: str
    bad: str


MISTAKES = (
    Mistake(
        "an option of the wrong type",
        "app",
        f"{_MAIN}/llm/MediaPipeModel.kt",
        ".setMaxTokens(request.info.contextTokens ?: DEFAULT_TOKENS)",
        '.setMaxTokens("512")',
    ),
    Mistake(
        "a call that came with a newer API",
        "API levels",
        f"{_MAIN}/ChatViewModel.kt",
        "return Memory(info.availMem, info.threshold)",
        "return Memory(info.advertisedMem, info.threshold)",
    ),
    Mistake(
        "a resource that is not there",
        "app",
        f"{_MAIN}/MainActivity.kt",
        "R.string.unnamed_bundle",
        "R.string.nameless_bundle",
    ),
    Mistake(
        "a misspelt attribute in the manifest",
        "resources",
        "app/src/main/AndroidManifest.xml",
        "android:supportsRtl",
        "android:suportsRtl",
    ),
    Mistake(
        "a Compose parameter that does not exist",
        "app",
        f"{_MAIN}/ui/MessageList.kt",
        "reverseLayout = true",
        "reversed = true",
    ),
    Mistake(
        "closing during a reply",
        "unit tests",
        f"{_MAIN}/chat/ChatController.kt",
        "            withContext(NonCancellable) { before?.join() }\n",
        "            before?.isActive\n",
    ),
    Mistake(
        "a Stop that does not wait for the engine",
        "unit tests",
        f"{_MAIN}/llm/MediaPipeModel.kt",
        "            if (!running.isDone) session.cancelGenerateResponseAsync()\n"
        "            await(running)\n            usedTokens",
        "            if (!running.isDone) session.cancelGenerateResponseAsync()\n"
        "            usedTokens",
    ),
    Mistake(
        "a top-k above the engine's",
        "unit tests",
        f"{_MAIN}/llm/MediaPipeModel.kt",
        ".setTopK(TOP_K)",
        ".setTopK(TOP_K + 24)",
    ),
    Mistake(
        "an Exception caught where an Error comes",
        "unit tests",
        f"{_MAIN}/chat/ChatController.kt",
        "} catch (e: Throwable) { // a missing native library is an Error",
        "} catch (e: Exception) {",
    ),
    Mistake(
        "a bundle kept by its name alone",
        "unit tests",
        f"{_MAIN}/model/BundleStore.kt",
        "-${sha256.take(NAME_DIGITS)}${kind.suffix}",
        "${kind.suffix}",
    ),
    Mistake(
        "a protobuf field of the wrong number",
        "unit tests",
        f"{_MAIN}/model/TextFormat.kt",
        "message.texts(5)",
        "message.texts(7)",
    ),
    Mistake(
        "a Stop button that sends",
        "clicks",
        f"{_MAIN}/ui/Composer.kt",
        "onClick = actions::stop",
        "onClick = actions::send",
    ),
    Mistake(
        "a stand-in with a method that the library has not",
        "stand-ins",
        "verify/apistub/com/google/ai/edge/litertlm/LiteRtLm.kt",
        "    fun cancelProcess() {",
        "    fun pauseProcess() = Unit\n\n    fun cancelProcess() {",
    ),
    Mistake(
        "a catalog entry that is not there",
        "project",
        "app/build.gradle.kts",
        "libs.litertlm.android",
        "libs.litertlm.core",
    ),
    Mistake(
        "an import of Android in the chat",
        "project",
        f"{_MAIN}/chat/ErrorText.kt",
        "package com.example.taskpress.chat\n",
        "package com.example.taskpress.chat\n\nimport android.util.Log\n",
    ),
    Mistake(
        "a line that ktlint would break",
        "ktlint",
        f"{_MAIN}/ui/Block.kt",
        "data class Block(val text: String, val code: Boolean)",
        "data class Block( val text:String, val code: Boolean )",
    ),
)


@contextmanager
def planted(mistake: Mistake) -> Iterator[Path]:
    """A copy of the sample that has the mistake."""
    with tempfile.TemporaryDirectory(prefix="android-mistake-") as folder:
        copy = Path(folder) / "android_sample"
        shutil.copytree(HERE.parent, copy, ignore=shutil.ignore_patterns("screenshots", "build"))
        path = copy / mistake.file
        text = path.read_text(encoding="utf-8")
        if text.count(mistake.good) != 1:
            raise SystemExit(f"{mistake.name}: {mistake.file} has its place not just once")
        path.write_text(text.replace(mistake.good, mistake.bad), encoding="utf-8")
        yield copy


def needed(step: str) -> set[str]:
    """The step and those whose output it uses."""
    (found,) = (each for each in STEPS if each.name == step)
    return {step}.union(*(needed(each) for each in found.after))


def first_failure(copy: Path, step: str, cache: Path) -> Result | None:
    """Runs what the step needs, and it."""
    with tempfile.TemporaryDirectory(prefix="android-verify-") as out:
        bench = Bench(copy, cache, Path(out), Path(out) / "screenshots")
        done: dict[str, Result] = {}
        for each in STEPS:
            if each.name in needed(step):
                done[each.name] = run_step(each, bench, done, {})
                if done[each.name].status != "ok":
                    return done[each.name]
    return None


def main() -> int:
    parser = argparse.ArgumentParser(description="Plants mistakes, shows who catches them.")
    parser.add_argument("--cache", type=Path, default=CACHE)
    parser.add_argument("names", nargs="*", help="of mistakes; all of them where none is given")
    arguments = parser.parse_args()
    with contextlib.redirect_stderr(io.StringIO()) as said:
        carriers, missing = get_carriers(arguments.cache.resolve())
    if carriers.status != "ok" or missing:
        raise SystemExit(said.getvalue() or carriers.note)
    chosen = [each for each in MISTAKES if not arguments.names or each.name in arguments.names]
    missed = 0
    for mistake in chosen:
        with planted(mistake) as copy:
            result = first_failure(copy, mistake.caught_by, arguments.cache.resolve())
        caught = result is not None and result.step == mistake.caught_by
        missed += not caught
        by = result.step if result else "nothing"
        note = result.note.strip().splitlines()[0][-100:] if result else ""
        print(f"{'ok' if caught else 'MISSED':<7} {mistake.name:<52} {by:<11} {note}", flush=True)
    print(f"{len(chosen) - missed} of {len(chosen)} mistakes are caught by the step named for them")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
