package com.example.taskpress.chat

import com.example.taskpress.llm.Backend
import com.example.taskpress.llm.LoadRequest
import com.example.taskpress.llm.TextModel
import com.example.taskpress.model.BundleInfo
import com.example.taskpress.model.BundleKind
import com.example.taskpress.model.TextFormat
import java.io.File
import java.util.Collections
import java.util.concurrent.Executors
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.Job
import kotlinx.coroutines.asCoroutineDispatcher
import kotlinx.coroutines.cancel
import kotlinx.coroutines.channels.Channel
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.flow.flow
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withTimeout

/** An engine whose replies a test writes, piece by piece, into [pieces]; null ends a reply. It logs what it is told. */
class FakeModel(private val log: MutableList<String>, private val number: Int) : TextModel {
    val pieces = Channel<String?>(Channel.UNLIMITED)
    var failure: Throwable? = null
    var closeFailure: Throwable? = null
    var beforeReset: () -> Unit = {}
    private var busy = false

    override var usedTokens = 0

    override fun countTokens(prompt: String): Int {
        check(!busy) { "Previous invocation still processing" }
        return prompt.length
    }

    override fun reply(prompt: String): Flow<String> = flow {
        check(!busy) { "Previous invocation still processing" }
        busy = true
        log += "reply $number: $prompt"
        usedTokens += prompt.length
        try {
            while (true) {
                val piece = pieces.receive() ?: break
                usedTokens += piece.length
                emit(piece)
            }
            failure?.let { throw it }
        } finally {
            Thread.sleep(20) // an engine takes a while to stop
            busy = false
            log += "ended $number"
        }
    }

    override fun reset() {
        check(!busy) { "Previous invocation still processing" }
        beforeReset()
        usedTokens = 0
        log += "reset $number"
    }

    override fun close() {
        check(!busy) { "Previous invocation still processing" }
        log += "closed $number"
        closeFailure?.let { throw it }
    }
}

/** A controller with fake engines, on a main thread of its own. [engines] are those that were opened, in order. */
class Bench {
    val log: MutableList<String> = Collections.synchronizedList(mutableListOf())
    val engines: MutableList<FakeModel> = Collections.synchronizedList(mutableListOf())
    var memory = Memory(availableBytes = 8L shl 30, thresholdBytes = 200L shl 20)
    var failures: (Backend) -> Throwable? = { null }
    var nanos = 0L
    private val main = Dispatchers.Default.limitedParallelism(1)
    private val scope = CoroutineScope(Job() + main)
    private val work = Executors.newSingleThreadExecutor { Thread(it).apply { isDaemon = true } }.asCoroutineDispatcher()
    private val chat = ChatController(scope, work, ::open, { memory }, { nanos })

    val state: ChatState get() = chat.state.value

    private fun open(request: LoadRequest, backend: Backend): TextModel {
        log += "open ${request.name} $backend"
        failures(backend)?.let { throw it }
        return FakeModel(log, engines.size).also { engines += it }
    }

    fun request(name: String = "m.task", contextTokens: Int? = 100, sizeBytes: Long = 1L shl 30) =
        LoadRequest(File(name), BundleInfo(BundleKind.TASK, sizeBytes, contextTokens, TextFormat("<s>", listOf("</s>"))))

    /** What a user does: it comes on the main thread, between two updates of the state and never during one. */
    fun <T> act(action: ChatController.() -> T): T = runBlocking(main) { chat.action() }

    fun await(what: (ChatState) -> Boolean): ChatState = runBlocking { withTimeout(20_000) { chat.state.first(what) } }

    fun ready(): FakeModel {
        act { load(request()) }
        await { it.phase == Phase.READY }
        return engines.last()
    }

    fun send(text: String) = act {
        edit(text)
        send()
    }

    fun end() {
        scope.cancel()
        work.close()
    }
}
