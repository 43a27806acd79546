package com.example.taskpress.model

import com.example.taskpress.Json
import com.example.taskpress.model.Files.resource
import java.io.File
import kotlin.test.assertContains
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertTrue
import org.junit.Test

/**
 * The app reads what taskpress wrote, and shows what `taskpress inspect --json` shows. The bundles and the JSON beside
 * them are made, and kept in step with taskpress, by tests/bundler/test_android_bundles.py.
 */
class BundleInfoTest {
    private companion object {
        /** Messages of MediaPipe's engine before TFLite, which no bundle of today has. */
        val OLD_ENGINE = setOf("transformer", "submodel_transformer", "vision_encoder", "audio_encoder").map { "${it}_parameters" }.toSet()
    }

    @Test fun sameFieldsAsTaskpressInspect() {
        for (name in listOf("chatml", "session")) {
            val shown = Json.read(resource("$name-of-task.json").readText())
            val read = BundleInfo.read(resource("$name.task"))

            @Suppress("UNCHECKED_CAST")
            val parameters = shown["parameters"] as Map<String, Any?>
            assertEquals(parameters - OLD_ENGINE, fields(read.format), name)
            assertTrue(OLD_ENGINE.all { it in parameters && parameters[it] == null }, "the app does not read these")
            assertEquals(Runtime.MEDIAPIPE, read.runtime)
            assertEquals(shown["size_bytes"], read.sizeBytes)
            assertEquals(BundleKind.TASK, read.kind)
            assertEquals(contextTokens(shown), read.contextTokens)
        }
    }

    @Test fun sameEntriesAsTaskpressInspect() {
        val shown = Json.read(resource("chatml-of-task.json").readText())
        Window.of(resource("chatml.task")) { window ->
            val entries = TaskArchive(window).entries.map { (name, entry) -> mapOf("name" to name, "size_bytes" to entry.sizeBytes) }

            // items: of the sections of a .litertlm
            @Suppress("UNCHECKED_CAST")
            val expected = (shown["entries"] as List<Map<String, Any?>>).map { it - "offset" - "items" }
            assertEquals(expected, entries)
        }
    }

    @Test fun templateOfAnOlderBundleStandsInFieldEight() {
        val template = "\u0012\u0001U\u001a\u0001V" // fields 2 and 3 of PromptTemplate
        val message = "\u0032\u0001B" + "\u002a\u0001E" + "\u0042\u0006" + template // 6, 5 and 8 of LlmParameters
        val format = TextFormat.ofLlmParameters(Protobuf(message.toByteArray(), "METADATA"), "METADATA")
        assertEquals(TextFormat("B", listOf("E"), userPrefix = "U", userSuffix = "V"), format)
    }

    @Test fun turnsAreCountedWithTheirTemplates() {
        val format = BundleInfo.read(resource("chatml.task")).format
        assertEquals("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n", format.turn("Hi", first = true))
        assertEquals("<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n", format.turn("Hi", first = false))
    }

    @Test fun bundlesForLiteRtLmAndForBoth() {
        for (name in listOf("litertlm.task", "both.task", "small.litertlm")) {
            val info = BundleInfo.read(resource(name))
            val shown = Json.read(resource(name.substringBefore('.') + "-of-" + name.substringAfter('.') + ".json").readText())
            val both = name == "both.task"
            assertEquals(if (both) Runtime.MEDIAPIPE else Runtime.LITERT_LM, info.runtime, name)
            @Suppress("UNCHECKED_CAST")
            val parameters = shown["parameters"] as Map<String, Any?>
            for (field in listOf(
                "user_prefix",
                "user_suffix",
                "model_prefix",
            )) {
                assertEquals(parameters[field], fields(info.format)[field], "$name: $field")
            }
            assertEquals(48, info.contextTokens, name)
            if (both) continue
            val metadata = shown["llm_metadata"] as Map<*, *>
            val sampler = metadata["sampler"] as Map<*, *>
            assertEquals(metadata["max_num_tokens"], info.contextTokens?.toLong(), name)
            assertEquals(sampler["k"], info.sampler?.topK?.toLong(), name)
            assertEquals(sampler["temperature"], info.sampler?.temperature.toString().toDouble(), name)
            assertEquals(listOf(1, 2), listOf(info.format.startTokenId, info.format.stopTokenIds.single()), name)
        }
    }

    @Test fun litertlmSaysItsContextAndSampling() {
        val file = Files.litertlm(metadata = byteArrayOf(0x28, 0x80.toByte(), 0x08, 0x22, 7, 0x10, 5, 0x1d, 0, 0, 0x40, 0x3f))
        val info = BundleInfo.read(file)
        assertEquals(BundleKind.LITERTLM, info.kind)
        assertEquals(1024, info.contextTokens)
        assertEquals(SamplerDefaults(topK = 5, topP = 0.75f, temperature = null), info.sampler)
    }

    @Test fun eachTruncationIsRefusedInWords() {
        val bytes = resource("chatml.task").readBytes()
        val cut = Files.temporary(".task")
        for (size in 0 until bytes.size) {
            cut.writeBytes(bytes.copyOf(size))
            val message = assertFailsWith<BundleException>("$size") { BundleInfo.read(cut) }.message.orEmpty()
            assertContains(message, cut.name)
        }
    }

    @Test fun eachChangedByteIsReadOrRefusedInWords() {
        val bytes = resource("session.task").readBytes()
        val changed = Files.temporary(".task")
        for (at in bytes.indices) {
            changed.writeBytes(bytes.copyOf().also { it[at] = (it[at].toInt() xor 0xff).toByte() })
            try {
                BundleInfo.read(changed)
            } catch (e: BundleException) {
                assertTrue(e.message.orEmpty().isNotBlank(), "byte $at")
            }
        }
    }

    private fun fields(format: TextFormat): Map<String, Any?> = TextFormat::class.java.declaredFields
        .filter { !java.lang.reflect.Modifier.isStatic(it.modifiers) }
        .associate { field ->
            field.isAccessible = true
            snake(field.name) to json(field.get(format))
        }

    private fun snake(name: String) = name.replace(Regex("[A-Z]")) { "_" + it.value.lowercase() }

    private fun json(value: Any?): Any? = when (value) {
        is Int -> value.toLong()
        is List<*> -> value.map(::json)
        is AnswerChannel -> mapOf("channel_name" to value.channelName, "start" to value.start, "end" to value.end)
        else -> value
    }

    @Suppress("UNCHECKED_CAST")
    private fun contextTokens(shown: Map<String, Any?>): Int {
        val model = shown["model"] as Map<String, Any?>
        val inputs = (model["signatures"] as List<Map<String, Any?>>).flatMap { it["inputs"] as List<Map<String, Any?>> }
        val shape = inputs.first { it["name"] == "kv_cache_k_0" }["shape"] as List<Long>
        return shape[2].toInt()
    }
}

/** Files for tests. */
object Files {
    fun resource(name: String): File = File(checkNotNull(javaClass.classLoader?.getResource(name)) { name }.toURI())

    fun temporary(suffix: String): File = File.createTempFile("test", suffix).apply { deleteOnExit() }

    fun folder(): File = java.nio.file.Files.createTempDirectory("test").toFile()

    /** A `.litertlm` of one section, its header by the book: the FlatBuffers of litertlm_header_schema.fbs. */
    fun litertlm(metadata: ByteArray): File {
        val header = java.nio.ByteBuffer.allocate(96).order(java.nio.ByteOrder.LITTLE_ENDIAN)
        // root table at 12; its vtable at 4 has fields 0 (absent) and 1
        header.putInt(0, 12).putShort(4, 8).putShort(6, 8).putShort(8, 0).putShort(10, 4)
        header.putInt(12, 8).putInt(16, 12)
        // section metadata at 28; vtable at 20
        header.putShort(20, 6).putShort(22, 8).putShort(24, 4).putInt(28, 8).putInt(32, 4)
        // one element, at 60; vtable at 44
        header.putInt(36, 1).putInt(40, 20)
        header.putShort(44, 12).putShort(46, 24).putShort(48, 0).putShort(50, 8).putShort(52, 16).putShort(54, 4)
        header.putInt(60, 16).put(64, 5).putLong(68, 256).putLong(76, 256L + metadata.size)
        val file = temporary(".litertlm")
        val start = java.nio.ByteBuffer.allocate(256).order(java.nio.ByteOrder.LITTLE_ENDIAN)
        start.put("LITERTLM".toByteArray()).putInt(1).putInt(9).putInt(0).putInt(0).putLong(32L + 96).put(header.array())
        file.writeBytes(start.array() + metadata)
        return file
    }
}
