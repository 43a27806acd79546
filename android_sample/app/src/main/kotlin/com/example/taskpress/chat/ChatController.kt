package com.example.taskpress.chat

import com.example.taskpress.llm.Backend
import com.example.taskpress.llm.LoadRequest
import com.example.taskpress.llm.TextModel
import kotlinx.coroutines.CancellationException
import kotlinx.coroutines.CoroutineDispatcher
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.CoroutineStart
import kotlinx.coroutines.Job
import kotlinx.coroutines.NonCancellable
import kotlinx.coroutines.currentCoroutineContext
import kotlinx.coroutines.ensureActive
import kotlinx.coroutines.flow.MutableStateFlow
import kotlinx.coroutines.flow.StateFlow
import kotlinx.coroutines.flow.asStateFlow
import kotlinx.coroutines.flow.flowOn
import kotlinx.coroutines.flow.update
import kotlinx.coroutines.launch
import kotlinx.coroutines.withContext

/**
 * What the chat screen shows and does. No Android in here: it is unit-tested on the JVM.
 *
 * [scope] outlives the screen, so a rotation changes nothing. It runs on a single thread, and every function here is called
 * on it. [work] must be a single thread too: the engines take one call at a time. Each action first ends the one before it,
 * and no action lets an engine that it opened go unclosed.
 */
class ChatController(
    private val scope: CoroutineScope,
    private val work: CoroutineDispatcher,
    private val open: (LoadRequest, Backend) -> TextModel,
    private val memory: () -> Memory,
    private val nanos: () -> Long = System::nanoTime,
) {
    private val states = MutableStateFlow(ChatState())
    val state: StateFlow<ChatState> = states.asStateFlow()
    private var model: TextModel? = null
    private var job: Job? = null
    private var lastId = 0L

    fun edit(draft: String) = states.update { it.copy(draft = draft) }

    fun want(backend: Backend) = states.update { it.copy(wanted = backend) }

    fun dismiss() = states.update { it.copy(problem = null, memory = null) }

    /** Loads a bundle in the place of the one that is loaded; [anyway]: the user was warned of the memory. */
    fun load(request: LoadRequest, anyway: Boolean = false) {
        val warning = if (anyway) null else memoryWarning(request.info, memory())
        if (warning != null) {
            states.update { it.copy(memory = MemoryQuestion(request, warning)) }
            return
        }
        stop()
        after {
            currentCoroutineContext().ensureActive() // no bundle is opened when the user asked for another one meanwhile
            states.update { ChatState(Phase.LOADING, loading = request.name, wanted = it.wanted, draft = it.draft) }
            try {
                val wanted = states.value.wanted
                val loaded = toItsEnd {
                    release()
                    openOrFallBack(request, wanted)
                }
                currentCoroutineContext().ensureActive() // the next action closes it; nobody may send to it before
                states.update {
                    it.copy(phase = Phase.READY, loading = null, model = loaded, budget = TokenBudget(request.info.contextTokens))
                }
            } catch (e: Throwable) { // a missing native library is an Error
                if (e is CancellationException) throw e
                states.update { it.copy(phase = Phase.NO_MODEL, loading = null, problem = "${request.name}: ${errorText(e)}") }
            }
        }
    }

    fun send() {
        val prompt = states.value.draft.trim()
        val model = model ?: return
        if (!states.value.canSend) return
        states.update { it.copy(phase = Phase.READING, problem = null, speed = null) }
        after {
            var problem: String? = null
            try {
                val needed = withContext(work) { model.countTokens(prompt) }
                problem = states.value.budget.refusal(needed)
                if (problem == null) reply(model, prompt)
            } catch (e: Throwable) {
                if (e is CancellationException) throw e
                problem = errorText(e)
            } finally {
                // one update: a problem that is seen while the phase is READING invites to a send that would be dropped
                states.update { it.copy(phase = Phase.READY, problem = problem) }
            }
        }
    }

    /** Ends the reply. The engine is waited for, so the phase is STOPPING for a while; what has come stays. */
    fun stop() {
        if (!states.value.canStop) return
        states.update { it.copy(phase = Phase.STOPPING) }
        job?.cancel()
    }

    fun newChat() {
        val model = model ?: return
        if (!states.value.canReset) return
        states.update { it.copy(phase = Phase.FORGETTING, problem = null) }
        after {
            try {
                toItsEnd { model.reset() }
                states.update {
                    it.copy(phase = Phase.READY, messages = emptyList(), budget = TokenBudget(it.budget.contextTokens), speed = null)
                }
            } catch (e: Throwable) {
                if (e is CancellationException) throw e
                states.update { it.copy(phase = Phase.READY, problem = errorText(e)) }
            }
        }
    }

    /** Frees the engine, after the reply that it may be writing. */
    fun unload(): Job {
        stop()
        return after {
            // an engine that is stuck must not end the app with it
            val problem = toItsEnd { runCatching { release() }.exceptionOrNull() }
            states.update { ChatState(wanted = it.wanted, draft = it.draft, problem = problem?.let(::errorText)) }
        }
    }

    /** Runs [action] when the one before has ended. Also an action that is cancelled waits: the next one waits for it alone. */
    private fun after(action: suspend () -> Unit): Job {
        val before = job
        before?.cancel()
        // undispatched: one that is cancelled before its first line would not wait either
        return scope.launch(start = CoroutineStart.UNDISPATCHED) {
            withContext(NonCancellable) { before?.join() }
            action()
        }.also { job = it }
    }

    /** An engine cannot be interrupted, and what it gives must not be lost: two contexts, as a single one throws it away. */
    private suspend fun <T> toItsEnd(call: () -> T): T = withContext(NonCancellable) { withContext(work) { call() } }

    private fun release() {
        val old = model ?: return
        model = null
        old.close()
    }

    private fun openOrFallBack(request: LoadRequest, wanted: Backend): LoadedModel {
        val gpuError = try {
            model = open(request, wanted)
            return LoadedModel(request.name, request.info, wanted)
        } catch (e: Throwable) {
            if (wanted == Backend.CPU || e is LinkageError) throw e // the CPU would miss the same library
            e
        }
        model = open(request, Backend.CPU)
        return LoadedModel(request.name, request.info, Backend.CPU, "The GPU could not be used: ${errorText(gpuError)}")
    }

    private suspend fun reply(model: TextModel, prompt: String) {
        val user = Message(++lastId, Author.USER, prompt)
        val answer = Message(++lastId, Author.MODEL, "")
        val watch = Stopwatch(nanos)
        states.update {
            // what was typed since Send stays
            it.copy(draft = if (it.draft.trim() == prompt) "" else it.draft, messages = it.messages + user + answer)
        }
        try {
            model.reply(prompt).flowOn(work).collect { piece ->
                if (piece.isEmpty()) return@collect
                watch.piece()
                states.update { state ->
                    state.copy(phase = if (state.phase == Phase.READING) Phase.WRITING else state.phase)
                        .change(answer.id) { it.copy(text = it.text + piece) }
                }
            }
        } catch (e: CancellationException) {
            states.update { state -> state.change(answer.id) { it.copy(stopped = true) } }
            throw e
        } catch (e: Throwable) {
            states.update { state -> state.change(answer.id) { it.copy(error = errorText(e)) } }
        } finally {
            val used = toItsEnd { runCatching { model.usedTokens }.getOrNull() }
            states.update { it.copy(budget = it.budget.copy(usedTokens = used ?: it.budget.usedTokens), speed = watch.speed()) }
        }
    }

    private fun ChatState.change(id: Long, to: (Message) -> Message) = copy(messages = messages.map { if (it.id == id) to(it) else it })
}

/** Takes the time of a reply; the engines hand out one piece a token. */
private class Stopwatch(private val nanos: () -> Long) {
    private val start = nanos()
    private var first = 0L
    private var last = 0L
    private var pieces = 0

    fun piece() {
        last = nanos()
        if (pieces++ == 0) first = last
    }

    fun speed(): Speed? {
        if (pieces == 0) return null
        val perSecond = if (pieces > 1 && last > first) (pieces - 1) * 1e9 / (last - first) else null
        return Speed((first - start) / 1_000_000, perSecond)
    }
}
