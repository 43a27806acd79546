package com.example.taskpress.llm

import com.example.taskpress.model.BundleInfo
import java.io.File
import kotlinx.coroutines.flow.Flow

enum class Backend { GPU, CPU }

/** A bundle to load. */
data class LoadRequest(val file: File, val info: BundleInfo) {
    val name: String get() = file.name
}

/**
 * A loaded language model that keeps the conversation so far.
 *
 * One call at a time, and never on the main thread: both engines refuse or block everything else while a reply runs.
 */
interface TextModel : AutoCloseable {
    /** Tokens that the conversation takes of the context. */
    val usedTokens: Int

    /** Tokens that [prompt] would add, its template included; null where the engine does not count beforehand. */
    fun countTokens(prompt: String): Int?

    /** Streams the reply to [prompt], new piece by new piece. Cancelling the collector stops the engine, and waits for it. */
    fun reply(prompt: String): Flow<String>

    /** Forgets the conversation. */
    fun reset()
}

/** The engine was asked to stop and did not say that it had; nothing more can be asked of it. */
class EngineStuckException : IllegalStateException("The engine did not stop in time. Close the app and open it again")
