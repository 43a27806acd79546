package com.example.taskpress.chat

import com.example.taskpress.llm.Backend
import com.example.taskpress.llm.LoadRequest
import com.example.taskpress.model.BundleInfo

enum class Author { USER, MODEL }

/** [stopped]: the user ended it. [error]: why there is no more of it. */
data class Message(val id: Long, val author: Author, val text: String, val stopped: Boolean = false, val error: String? = null)

enum class Phase {
    NO_MODEL,
    LOADING,
    READY,

    /** The engine takes the prompt in; no piece of the reply has come. */
    READING,
    WRITING,
    STOPPING,

    /** The engine forgets the conversation, for a new chat. */
    FORGETTING,
}

/** [note]: why it does not run where it was asked to. */
data class LoadedModel(val name: String, val info: BundleInfo, val backend: Backend, val note: String? = null)

/** Of the last reply. [tokensPerSecond] is null for a reply of a single token. */
data class Speed(val firstTokenMs: Long, val tokensPerSecond: Double?)

/** A bundle that may be too large for the free memory; the user decides. */
data class MemoryQuestion(val request: LoadRequest, val text: String)

data class ChatState(
    val phase: Phase = Phase.NO_MODEL,
    val loading: String? = null,
    val model: LoadedModel? = null,
    val wanted: Backend = Backend.GPU,
    val messages: List<Message> = emptyList(),
    val draft: String = "",
    val budget: TokenBudget = TokenBudget(null),
    val speed: Speed? = null,
    val problem: String? = null,
    val memory: MemoryQuestion? = null,
) {
    val replying: Boolean get() = phase == Phase.READING || phase == Phase.WRITING || phase == Phase.STOPPING
    val canSend: Boolean get() = phase == Phase.READY && draft.isNotBlank()
    val canStop: Boolean get() = phase == Phase.READING || phase == Phase.WRITING
    val canReset: Boolean get() = phase == Phase.READY && messages.isNotEmpty()
}
