package com.google.ai.edge.litertlm

import java.util.concurrent.CancellationException
import kotlin.concurrent.thread
import standin.EngineLog

/*
 * Stands in for com.google.ai.edge.litertlm:litertlm-android where Google's Maven is out of reach: the part of its surface
 * that the app uses, and its rules. verify/surface/litertlm.txt says where the surface was read; a step checks that nothing
 * here is declared otherwise. Answers a message with its letters in reverse, one at a time, on a thread of its own. At a
 * "#" it waits to be cancelled.
 */

sealed class Backend(val name: String) {
    data class CPU(val threadCount: Int? = null, val numOfThreads: Int? = null) : Backend("CPU")

    class GPU : Backend("GPU")
}

enum class ActivationDataType(val value: Int) { FLOAT32(0), FLOAT16(1), INT16(2), INT8(3) }

data class EngineConfig @JvmOverloads constructor(
    val modelPath: String,
    val backend: Backend = Backend.CPU(),
    val visionBackend: Backend? = null,
    val audioBackend: Backend? = null,
    val maxNumTokens: Int? = null,
    val maxNumImages: Int? = null,
    val cacheDir: String? = null,
    val activationDataType: ActivationDataType? = null,
)

class ConversationConfig

class Engine(val engineConfig: EngineConfig) : AutoCloseable {
    private var initialized = false

    fun isInitialized(): Boolean = initialized

    fun initialize() {
        check(!initialized) { "Engine is already initialized." }
        EngineLog.LINES += "engine ${engineConfig.backend.name}"
        if ("nolib" in engineConfig.modelPath) throw UnsatisfiedLinkError("dlopen failed: library \"liblitertlm_jni.so\" not found")
        if ("bad" in engineConfig.modelPath) throw LiteRtLmJniException("Failed to create engine: bad model")
        if ("nogpu" in engineConfig.modelPath && engineConfig.backend is Backend.GPU) throw LiteRtLmJniException("INTERNAL: no OpenCL")
        initialized = true
    }

    fun createConversation(conversationConfig: ConversationConfig = ConversationConfig()): Conversation {
        check(initialized) { "Engine is not initialized." }
        EngineLog.LINES += "conversation"
        conversationConfig.hashCode()
        return Conversation.of(engineConfig.modelPath)
    }

    override fun close() {
        check(initialized) { "Engine is not initialized." }
        initialized = false
        EngineLog.LINES += "engine closed"
    }
}

class Conversation private constructor(private val path: String) : AutoCloseable {
    @Volatile private var alive = true

    @Volatile private var cancelled = false

    @Volatile private var running = false
    private var tokens = 0

    val isAlive: Boolean get() = alive

    @JvmOverloads
    fun sendMessageAsync(text: String, callback: MessageCallback, extraContext: Map<String, Any> = emptyMap()) {
        check(alive) { "Conversation is not alive." }
        check(extraContext.isEmpty())
        if ("nosend" in path) throw LiteRtLmJniException("Failed to send")
        running = true
        cancelled = false
        thread(isDaemon = true) {
            var sent = 0
            for (letter in text.reversed()) {
                var waits = if (letter == '#') 4000 else 0
                while (waits-- > 0 && !cancelled) Thread.sleep(5)
                if (cancelled) break
                callback.onMessage(Message.of(letter.toString()))
                sent++
                Thread.sleep(5)
            }
            tokens += text.length + sent
            running = false
            EngineLog.LINES += if (cancelled) "cancelled" else "done"
            when {
                cancelled -> callback.onError(CancellationException("cancelled"))
                "breaks" in path -> callback.onError(LiteRtLmJniException("Status Code: 13. Message: out of memory"))
                else -> callback.onDone()
            }
        }
    }

    fun cancelProcess() {
        check(alive) { "Conversation is not alive." }
        cancelled = true
    }

    fun getTokenCount(): Int {
        check(alive) { "Conversation is not alive." }
        return tokens
    }

    override fun close() {
        check(alive) { "Conversation is closed already." }
        // the real one would free what the reply still writes to; here that is told
        EngineLog.LINES += if (running) "conversation closed during a reply" else "conversation closed"
        alive = false
    }

    companion object {
        @JvmSynthetic internal fun of(path: String) = Conversation(path)
    }
}

class Message private constructor(private val text: String) {
    override fun toString(): String = text

    companion object {
        @JvmSynthetic internal fun of(text: String) = Message(text)
    }
}

interface MessageCallback {
    fun onMessage(message: Message)

    fun onDone()

    fun onError(throwable: Throwable)
}

class LiteRtLmJniException(message: String) : RuntimeException(message)
