package com.example.taskpress.chat

/** Tokens of the bundle's context: prompts and replies share them. [contextTokens] is null where the bundle does not say. */
data class TokenBudget(val contextTokens: Int?, val usedTokens: Int = 0) {
    val leftTokens: Int? get() = contextTokens?.let { maxOf(0, it - usedTokens) }

    val full: Boolean get() = leftTokens.let { it != null && it < MIN_REPLY_TOKENS }

    /** Why a prompt of [promptTokens] cannot be answered, in words; null when it can. */
    fun refusal(promptTokens: Int?): String? {
        val left = leftTokens ?: return null
        return when {
            full -> "The context is full: $usedTokens of $contextTokens tokens are used. Start a new chat"
            promptTokens == null || promptTokens + MIN_REPLY_TOKENS <= left -> null
            usedTokens == 0 -> "The message has $promptTokens tokens; the bundle's context is $contextTokens. Shorten it"
            else -> "The message has $promptTokens tokens and the chat has room for $left. Shorten it, or start a new chat"
        }
    }

    companion object {
        /** Room that a reply needs to be worth its start. */
        const val MIN_REPLY_TOKENS = 16
    }
}
