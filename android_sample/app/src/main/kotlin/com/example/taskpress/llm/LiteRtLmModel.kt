package com.example.taskpress.llm

import com.google.ai.edge.litertlm.Backend as EngineBackend
import com.google.ai.edge.litertlm.Conversation
import com.google.ai.edge.litertlm.Engine
import com.google.ai.edge.litertlm.EngineConfig
import com.google.ai.edge.litertlm.Message
import com.google.ai.edge.litertlm.MessageCallback
import java.io.File
import java.util.concurrent.CountDownLatch
import java.util.concurrent.TimeUnit
import kotlinx.coroutines.channels.Channel
import kotlinx.coroutines.channels.awaitClose
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.buffer
import kotlinx.coroutines.flow.callbackFlow

/**
 * A `.litertlm` bundle in LiteRT-LM, which applies the bundle's templates, stop tokens and sampling itself.
 *
 * Closing a conversation frees what the native reply still writes to, so each reply is waited for first.
 */
class LiteRtLmModel private constructor(private val engine: Engine) : TextModel {
    private var conversation: Conversation = engine.createConversation()
    private var running: CountDownLatch? = null
    private var closed = false

    override val usedTokens: Int get() = conversation.getTokenCount()

    override fun countTokens(prompt: String): Int? = null

    override fun reply(prompt: String): Flow<String> = callbackFlow {
        val ended = CountDownLatch(1)
        running = ended
        val callback = object : MessageCallback {
            // on threads of the engine; the channel keeps the pieces in order, and has room for all of them
            override fun onMessage(message: Message) {
                trySend(message.toString())
            }

            override fun onDone() {
                ended.countDown()
                channel.close()
            }

            override fun onError(throwable: Throwable) {
                ended.countDown()
                channel.close(throwable)
            }
        }
        try {
            conversation.sendMessageAsync(prompt, callback)
        } catch (e: Throwable) {
            ended.countDown() // no reply began, so none is waited for
            throw e
        }
        awaitClose {
            if (ended.count > 0) conversation.cancelProcess()
            await(ended)
        }
    }.buffer(Channel.UNLIMITED)

    override fun reset() {
        conversation.close()
        conversation = engine.createConversation()
    }

    override fun close() {
        if (closed) return
        running?.let { ended ->
            if (ended.count > 0) conversation.cancelProcess()
            await(ended)
        }
        closed = true
        if (conversation.isAlive) conversation.close()
        engine.close()
    }

    private fun await(ended: CountDownLatch) {
        if (!ended.await(STOP_SECONDS, TimeUnit.SECONDS)) throw EngineStuckException()
    }

    companion object {
        private const val STOP_SECONDS = 20L

        /** Blocks for as long as loading takes. Throws what the engine throws, an Error where its library is missing. */
        fun open(caches: File, request: LoadRequest, backend: Backend): LiteRtLmModel {
            val config = EngineConfig(
                modelPath = request.file.absolutePath,
                backend = if (backend == Backend.GPU) EngineBackend.GPU() else EngineBackend.CPU(),
                cacheDir = caches.absolutePath,
            )
            val engine = Engine(config)
            engine.initialize()
            return try {
                LiteRtLmModel(engine)
            } catch (e: Throwable) {
                engine.close() // it holds gigabytes
                throw e
            }
        }
    }
}
