package com.example.taskpress.model

import com.example.taskpress.model.Files.resource
import java.io.ByteArrayInputStream
import java.io.File
import java.io.IOException
import java.io.InputStream
import java.util.zip.ZipEntry
import java.util.zip.ZipOutputStream
import kotlin.test.assertContains
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertFalse
import kotlin.test.assertNotEquals
import kotlin.test.assertTrue
import org.junit.Test

class Bytes(override val name: String, private val bytes: ByteArray, override val sizeBytes: Long? = bytes.size.toLong()) : BundleSource {
    override fun open(): InputStream = ByteArrayInputStream(bytes)
}

class BundleStoreTest {
    private val folder = Files.folder()
    private val caches = Files.folder()
    private val store = BundleStore(folder, caches)
    private val bundle = resource("chatml.task").readBytes()

    @Test fun aCopyHasANameOfItsContent() {
        val seen = mutableListOf<Progress>()
        val first = store.add(Bytes("my model.task", bundle), seen::add)
        val second = store.add(Bytes("my model.task", resource("session.task").readBytes()))
        assertTrue(first.name.matches(Regex("my_model-[0-9a-f]{12}\\.task")), first.name)
        assertNotEquals(first.name, second.name)
        assertEquals("my_model", BundleStore.shortName(first.name))
        assertEquals(first, store.add(Bytes("my model.task", bundle)))
        assertEquals(Progress(bundle.size.toLong(), bundle.size.toLong()), seen.last())
        assertEquals(setOf(first.name, second.name), folder.list().orEmpty().toSet())
        assertEquals(48, store.bundles().first().info?.contextTokens)
    }

    @Test fun aNameFromElsewhereCannotLeaveTheFolder() {
        val file = store.add(Bytes("../../..evil\u0000/../x y.task", bundle))
        assertEquals(folder, file.parentFile)
        assertTrue(file.name.startsWith("x_y-"), file.name)
    }

    @Test fun aCopyThatBreaksOffLeavesNothing() {
        val broken = object : BundleSource {
            override val name = "m.task"
            override val sizeBytes = 5_000_000L

            override fun open() = object : InputStream() {
                private var left = 3_000_000

                override fun read() = if (left-- > 0) 0 else throw IOException("the cable was pulled")
            }
        }
        assertContains(refused { store.add(broken) }, "m.task cannot be copied: the cable was pulled")
        assertEquals(emptyList(), folder.list().orEmpty().toList())
    }

    @Test fun aHalfCopiedBundleIsNoBundle() {
        val half = bundle.copyOf(bundle.size / 2)
        assertContains(refused { store.add(Bytes("m.task", half)) }, "m.task ends without a zip's list of entries")
        assertContains(
            refused {
                store.add(Bytes("m.task", half, bundle.size.toLong()))
            },
            "m.task ended after ${half.size} of ${bundle.size} bytes",
        )
        assertEquals(emptyList(), folder.list().orEmpty().toList())
    }

    @Test fun whatACrashLeftIsSweptAndADownloadStays() {
        File(folder, "copy-123.part").writeBytes(bundle)
        store.downloadPart("ab").writeBytes(bundle)
        assertEquals(emptyList(), store.bundles())
        store.sweep()
        assertEquals(listOf("download-ab.part"), folder.list().orEmpty().toList())
    }

    @Test fun aBundleThatWasSpoiledLaterIsListedWithItsProblem() {
        val file = store.add(Bytes("m.task", bundle))
        file.writeBytes(bundle.copyOf(100))
        val listed = store.bundles().single()
        assertEquals(null, listed.info)
        assertContains(listed.problem.orEmpty(), "cut off")
    }

    @Test fun wrongZipsAreRefusedInWords() {
        assertContains(
            refused {
                store.add(Bytes("a.task", zip("x.txt" to "hello", stored = true)))
            },
            "a.task has no TF_LITE_PREFILL_DECODE",
        )
        assertContains(
            refused {
                store.add(Bytes("b.task", zip("TF_LITE_PREFILL_DECODE" to "x".repeat(99), stored = false)))
            },
            "is compressed in b.task",
        )
        assertContains(
            refused {
                val entries = arrayOf("TF_LITE_PREFILL_DECODE" to "no model", "TOKENIZER_MODEL" to "t", "METADATA" to "m")
                store.add(Bytes("c.task", zip(*entries, stored = true)))
            },
            "TF_LITE_PREFILL_DECODE in c.task is no TFLite model",
        )
        assertContains(refused { store.add(Bytes("d.task", "<html>".toByteArray())) }, "d.task is neither a .task nor a .litertlm")
        assertContains(refused { store.add(Bytes("e.task", byteArrayOf())) }, "e.task is empty")
    }

    @Test fun tooLittleStorageIsSaidBeforeTheCopy() {
        val full = BundleStore(folder, caches) { 300L shl 20 }
        assertContains(refused { full.add(Bytes("m.task", bundle, 1L shl 30)) }, "m.task needs 1.3 GB of storage, 315 MB are free")
        assertEquals(emptyList(), folder.list().orEmpty().toList())
    }

    @Test fun deletingTakesTheCachesAlong() {
        val file = store.add(Bytes("m.task", bundle))
        File(caches, file.name + ".xnnpack_cache").writeText("weights")
        File(caches, "other.cache").writeText("kept")
        store.delete(file)
        assertFalse(file.exists())
        assertEquals(listOf("other.cache"), caches.list().orEmpty().toList())
    }

    private fun refused(action: () -> Unit): String = assertFailsWith<BundleException> { action() }.message.orEmpty()

    private fun zip(vararg entries: Pair<String, String>, stored: Boolean): ByteArray {
        val bytes = java.io.ByteArrayOutputStream()
        ZipOutputStream(bytes).use { zip ->
            for ((name, text) in entries) {
                val entry = ZipEntry(name)
                if (stored) {
                    entry.method = ZipEntry.STORED
                    entry.size = text.length.toLong()
                    entry.crc = java.util.zip.CRC32().apply { update(text.toByteArray()) }.value
                }
                zip.putNextEntry(entry)
                zip.write(text.toByteArray())
            }
        }
        return bytes.toByteArray()
    }
}
