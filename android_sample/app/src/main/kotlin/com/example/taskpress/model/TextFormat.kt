package com.example.taskpress.model

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
) {
    /** The text that a turn puts into the context, without the reply. */
    fun turn(prompt: String, first: Boolean): String =
        (if (first) startToken + sessionPrefix else modelSuffix) + userPrefix + prompt + userSuffix + modelPrefix

    companion object {
        /** METADATA of a `.task`: the protobuf message odml.infra.proto.LlmParameters. */
        fun ofTask(bytes: ByteArray, name: String): TextFormat {
            val message = Protobuf(bytes, name)
            val start = message.text(6)
            if (start.isEmpty()) throw BundleException("$name has no start token; build the bundle anew with `taskpress build`")
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
                bytesToUnicode = 1L in message.allNumbers(7),
            )
        }

        /** Of a `.litertlm`: the protobuf message litert.lm.proto.LlmMetadata. Tokens given by id only are left out. */
        fun ofLlmMetadata(message: Protobuf): TextFormat {
            val templates = message.message(3)
            fun affix(role: Int, part: Int) = templates?.message(role)?.text(part).orEmpty()
            return TextFormat(
                startToken = message.message(1)?.text(2).orEmpty(),
                stopTokens = message.messages(2).map { it.text(2) }.filter { it.isNotEmpty() },
                userPrefix = affix(1, 1),
                userSuffix = affix(1, 2),
                modelPrefix = affix(2, 1),
                modelSuffix = affix(2, 2),
                systemPrefix = affix(3, 1),
                systemSuffix = affix(3, 2),
            )
        }
    }
}
