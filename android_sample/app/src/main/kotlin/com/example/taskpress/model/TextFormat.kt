package com.example.taskpress.model

/** A part of the answer that is not told as its text, such as the model's thoughts; it stands between [start] and [end]. */
data class AnswerChannel(val channelName: String, val start: String, val end: String)

/**
 * What a bundle says of its text format; an empty text means that it is not there.
 *
 * The names are those of `taskpress inspect --json`, under "parameters". The engines apply all of it themselves;
 * the app shows it and counts its tokens, and types none of it again.
 */
data class TextFormat(
    val startToken: String,
    val stopTokens: List<String>,
    val sessionPrefix: String = "",
    val userPrefix: String = "",
    val userSuffix: String = "",
    val modelPrefix: String = "",
    val modelSuffix: String = "",
    val systemPrefix: String = "",
    val systemSuffix: String = "",
    val userRoleToken: String = "",
    val systemRoleToken: String = "",
    val modelRoleToken: String = "",
    val endRoleToken: String = "",
    val bytesToUnicode: Boolean = false,
    val startTokenId: Int? = null,
    val stopTokenIds: List<Int> = emptyList(),
    val suppressedTokens: List<Int> = emptyList(),
    val channels: List<AnswerChannel> = emptyList(),
    val vocabSize: Int = 0,
    val numDraftTokens: Int = 0,
) {
    /** The text that a turn puts into the context, without the reply. */
    fun turn(prompt: String, first: Boolean): String =
        (if (first) startToken + sessionPrefix else modelSuffix) + userPrefix + prompt + userSuffix + modelPrefix

    companion object {
        /** METADATA of a `.task` for MediaPipe: the protobuf message odml.infra.proto.LlmParameters. */
        fun ofLlmParameters(message: Protobuf, name: String): TextFormat {
            // one of the two; where METADATA is for both engines, field 6 is a message of the other's
            val startId = message.number(4)?.toInt()
            val start = if (startId == null) message.text(6) else ""
            if (startId == null && start.isEmpty()) {
                throw BundleException("$name has no start token; build the bundle anew with `taskpress build`")
            }
            // field 8 is what bundles before mediapipe 0.10.35 have alone; its suffix then holds the model's prefix too
            val old = message.message(8)
            val roles = message.message(17)
            val user = if (roles == null) old else roles.message(1)
            val model = roles?.message(2)
            val system = roles?.message(3)
            return TextFormat(
                startToken = start,
                stopTokens = message.texts(5),
                sessionPrefix = old?.text(1).orEmpty(),
                userPrefix = user?.text(2).orEmpty(),
                userSuffix = user?.text(3).orEmpty(),
                modelPrefix = model?.text(2).orEmpty(),
                modelSuffix = model?.text(3).orEmpty(),
                systemPrefix = system?.text(2).orEmpty(),
                systemSuffix = system?.text(3).orEmpty(),
                userRoleToken = message.text(11),
                systemRoleToken = message.text(12),
                modelRoleToken = message.text(13),
                endRoleToken = message.text(14),
                bytesToUnicode = 1 in message.allNumbers(7),
                startTokenId = startId,
                stopTokenIds = message.allNumbers(18),
                suppressedTokens = message.allNumbers(20),
                channels = channels(message, 19),
                vocabSize = message.number(2)?.toInt() ?: 0,
                numDraftTokens = message.number(9)?.toInt() ?: 0,
            )
        }

        /** METADATA for LiteRT-LM: the protobuf message litert.lm.proto.LlmMetadata. Its tokens may be texts or ids. */
        fun ofLlmMetadata(message: Protobuf): TextFormat {
            val templates = message.message(3)
            fun affix(role: Int, part: Int) = templates?.message(role)?.text(part).orEmpty()
            fun ids(token: Protobuf?) = token?.message(1)?.allNumbers(1).orEmpty()
            val stops = message.messages(2)
            return TextFormat(
                startToken = message.message(1)?.text(2).orEmpty(),
                stopTokens = stops.map { it.text(2) }.filter { it.isNotEmpty() },
                userPrefix = affix(1, 1),
                userSuffix = affix(1, 2),
                modelPrefix = affix(2, 1),
                modelSuffix = affix(2, 2),
                systemPrefix = affix(3, 1),
                systemSuffix = affix(3, 2),
                startTokenId = ids(message.message(1)).firstOrNull(),
                stopTokenIds = stops.flatMap(::ids),
                suppressedTokens = message.message(9)?.allNumbers(1).orEmpty(),
                channels = channels(message, 8),
            )
        }

        private fun channels(message: Protobuf, field: Int) =
            message.messages(field).map { AnswerChannel(it.text(1), it.text(2), it.text(3)) }
    }
}
