package com.example.taskpress.model

import java.io.File
import java.io.IOException

enum class BundleKind(val suffix: String) { TASK(".task"), LITERTLM(".litertlm") }

/** The library that runs a bundle. */
enum class Runtime { MEDIAPIPE, LITERT_LM }

/** Sampling that a bundle asks for; null where it does not say. */
data class SamplerDefaults(val topK: Int?, val topP: Float?, val temperature: Float?)

/** What a bundle knows of itself. [contextTokens]: prompts and replies together; null where the file does not say. */
data class BundleInfo(
    val kind: BundleKind,
    val sizeBytes: Long,
    val contextTokens: Int?,
    val format: TextFormat,
    val sampler: SamplerDefaults? = null,
    val runtime: Runtime = if (kind == BundleKind.TASK) Runtime.MEDIAPIPE else Runtime.LITERT_LM,
) {
    companion object {
        private const val MAX_METADATA_BYTES = 1L shl 20
        private const val LITERTLM_MAGIC = "LITERTLM"
        private const val HEADER_AT = 32L
        private const val START_TOKEN = 1 // of LlmMetadata
        private const val START_TOKEN_ID = 4 // of LlmParameters
        private const val LLM_METADATA = 5L // AnySectionDataType of litertlm_header_schema.fbs

        /** Reads the few kilobytes that tell what [file] is. Raises [BundleException] for what no engine could open. */
        fun read(file: File): BundleInfo = try {
            Window.of(file) { window ->
                val start = window.read(0, minOf(8, window.sizeBytes).toInt())
                when {
                    start.decodeToString() == LITERTLM_MAGIC -> litertlm(window)

                    start.isEmpty() -> throw BundleException("${file.name} is empty")

                    // mediapipe's and taskpress's bundles begin with a few zeros, zip's own with PK
                    start[0] == 'P'.code.toByte() || start[0] == 0.toByte() -> task(window)

                    else -> throw BundleException("${file.name} is neither a .task nor a .litertlm bundle")
                }
            }
        } catch (e: BundleException) {
            throw e
        } catch (e: IOException) {
            throw BundleException("${file.name} cannot be read: ${e.message}", e)
        }

        private fun task(window: Window): BundleInfo {
            val archive = TaskArchive(window)
            val context = TfliteModel.contextTokens(archive.entry("TF_LITE_PREFILL_DECODE"))
            archive.entry("TOKENIZER_MODEL")
            val metadata = archive.entry("METADATA")
            val message = Protobuf(whole(metadata), metadata.name)
            // LiteRT-LM opens a .task too, by a message of its own that begins with a start token; where METADATA is for
            // both, MediaPipe finds its start token in field 4, as a number
            if (START_TOKEN in message && message.number(START_TOKEN_ID) == null) {
                return forLiteRtLm(BundleKind.TASK, window, message, context)
            }
            return BundleInfo(BundleKind.TASK, window.sizeBytes, context, TextFormat.ofLlmParameters(message, metadata.name))
        }

        private fun litertlm(window: Window): BundleInfo {
            val headerEnd = window.i64(24)
            val header = window.part(HEADER_AT, headerEnd - HEADER_AT, "header of ${window.name}")
            val sections = Flatbuffer.root(header).table(1)
                ?: throw BundleException("${window.name} is damaged: its header lists no sections")
            val all = sections.elements(0).map { Section(it.number(1, 8), it.number(2, 8), it.number(3, 1)) }.toList()
            // each is asked for, so that a file that was cut off is refused before an engine maps it
            all.forEach { window.part(it.begin, it.end - it.begin, "a section of ${window.name}") }
            val found = all.firstOrNull { it.type == LLM_METADATA }
                ?: throw BundleException("${window.name} has no LlmMetadata section; it holds no language model")
            val message = Protobuf(
                whole(window.part(found.begin, found.end - found.begin, "LlmMetadata of ${window.name}")),
                "LlmMetadata of ${window.name}",
            )
            return forLiteRtLm(BundleKind.LITERTLM, window, message, null)
        }

        private fun forLiteRtLm(kind: BundleKind, window: Window, message: Protobuf, ofModel: Int?): BundleInfo {
            val sampler = message.message(4)?.let { SamplerDefaults(it.number(2)?.toInt(), it.float(3), it.float(4)) }
            val context = message.number(5)?.toInt()?.takeIf { it > 0 } ?: ofModel
            return BundleInfo(kind, window.sizeBytes, context, TextFormat.ofLlmMetadata(message), sampler, Runtime.LITERT_LM)
        }

        private class Section(val begin: Long, val end: Long, val type: Long)

        private fun whole(window: Window): ByteArray {
            val size = window.sizeBytes
            if (size > MAX_METADATA_BYTES) throw BundleException("${window.name} has $size bytes; at most $MAX_METADATA_BYTES are read")
            return window.read(0, size.toInt())
        }
    }
}
