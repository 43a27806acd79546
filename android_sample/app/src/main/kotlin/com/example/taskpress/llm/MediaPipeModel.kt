@file:Suppress("DEPRECATION") // all of tasks-genai is, in favour of LiteRT-LM, which does not open .task bundles

package com.example.taskpress.llm

import android.content.Context
import com.example.taskpress.model.TextFormat
import com.google.mediapipe.tasks.genai.llminference.LlmInference
import com.google.mediapipe.tasks.genai.llminference.LlmInference.LlmInferenceOptions
import com.google.mediapipe.tasks.genai.llminference.LlmInferenceSession
import com.google.mediapipe.tasks.genai.llminference.LlmInferenceSession.LlmInferenceSessionOptions
import java.util.concurrent.Future
import java.util.concurrent.TimeUnit
import java.util.concurrent.TimeoutException
import kotlinx.coroutines.channels.Channel
import kotlinx.coroutines.channels.awaitClose
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.buffer
import kotlinx.coroutines.flow.callbackFlow

/**
 * A `.task` bundle in MediaPipe's LLM Inference engine, which applies the bundle's templates itself.
 *
 * The engine has one lock: from generateResponseAsync until it has said `done`, every other call but
 * cancelGenerateResponseAsync throws, close() included. So each reply is waited for before anything else.
 */
class MediaPipeModel private constructor(
    private val engine: LlmInference,
    private val sampling: LlmInferenceSessionOptions,
    private val format: TextFormat,
) : TextModel {
    private var session = LlmInferenceSession.createFromOptions(engine, sampling)
    private var answer: Future<String>? = null
    private var closed = false

    override var usedTokens = 0
        private set

    override fun countTokens(prompt: String): Int = session.sizeInTokens(format.turn(prompt, first = usedTokens == 0))

    override fun reply(prompt: String): Flow<String> = callbackFlow {
        val asked = countTokens(prompt)
        val text = StringBuilder()
        session.addQueryChunk(prompt)
        val running = session.generateResponseAsync { piece, done ->
            // on a thread of the engine; the channel keeps the pieces in order, and has room for all of them
            text.append(piece)
            trySend(piece)
            if (done) channel.close()
        }
        answer = running
        awaitClose {
            if (!running.isDone) session.cancelGenerateResponseAsync()
            await(running)
            usedTokens += asked + session.sizeInTokens(text.toString())
        }
    }.buffer(Channel.UNLIMITED)

    override fun reset() {
        session.close()
        usedTokens = 0
        session = LlmInferenceSession.createFromOptions(engine, sampling)
    }

    override fun close() {
        if (closed) return
        answer?.let { running ->
            if (!running.isDone) session.cancelGenerateResponseAsync()
            await(running)
        }
        closed = true
        session.close()
        engine.close()
    }

    private fun await(running: Future<String>) {
        try {
            running.get(STOP_SECONDS, TimeUnit.SECONDS)
        } catch (e: TimeoutException) {
            throw EngineStuckException().apply { initCause(e) }
        }
    }

    companion object {
        private const val STOP_SECONDS = 20L

        // METADATA has no place for sampling: these are the library's own defaults, said here because
        // the engine must be built for as large a top-k as any session asks for
        private const val TOP_K = 40
        private const val TEMPERATURE = 0.8f
        private const val DEFAULT_TOKENS = 512

        /** Blocks for as long as loading takes. Throws what the engine throws, an Error where its library is missing. */
        fun open(context: Context, request: LoadRequest, backend: Backend): MediaPipeModel {
            val options = LlmInferenceOptions.builder()
                .setModelPath(request.file.absolutePath)
                .setMaxTokens(request.info.contextTokens ?: DEFAULT_TOKENS)
                .setMaxTopK(TOP_K)
                .setPreferredBackend(if (backend == Backend.GPU) LlmInference.Backend.GPU else LlmInference.Backend.CPU)
                .build()
            val sampling = LlmInferenceSessionOptions.builder().setTopK(TOP_K).setTemperature(TEMPERATURE).build()
            val engine = LlmInference.createFromOptions(context, options)
            return try {
                MediaPipeModel(engine, sampling, request.info.format)
            } catch (e: Throwable) {
                engine.close() // it holds gigabytes
                throw e
            }
        }
    }
}
