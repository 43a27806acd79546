package com.example.taskpress.model

import com.example.taskpress.model.Files.resource
import java.io.File
import java.io.InputStream
import kotlin.test.assertContains
import kotlin.test.assertEquals
import kotlin.test.assertNull
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.Job
import kotlinx.coroutines.cancel
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withTimeout
import org.junit.After
import org.junit.Test

class BundleLibraryTest {
    private val scope = CoroutineScope(Job() + Dispatchers.Default.limitedParallelism(1))
    private val folder = Files.folder()
    private val adb = Files.folder()
    private val library = BundleLibrary(scope, Dispatchers.IO, BundleStore(folder, Files.folder()), adb)

    @After fun end() = scope.cancel()

    private fun await(what: (LibraryState) -> Boolean): LibraryState = runBlocking { withTimeout(20_000) { library.state.first(what) } }

    @Test fun aPickerLeftWithoutAChoiceChangesNothing() {
        val before = library.state.value
        library.picked(null) { error("there is nothing to load") }
        assertEquals(before, library.state.value)
        assertNull(folder.list()?.firstOrNull())
    }

    @Test fun aPickedBundleIsCopiedAndHandedOn() {
        val loaded = java.util.concurrent.CompletableFuture<StoredBundle>()
        library.picked(FileSource(resource("chatml.task")), loaded::complete)
        assertEquals(48, loaded.get(20, java.util.concurrent.TimeUnit.SECONDS).info?.contextTokens)
        assertEquals(1, await { it.bundles.isNotEmpty() && it.transfer == null }.bundles.size)
    }

    @Test fun aPickedFileThatIsNoBundleIsSaidInWords() {
        library.picked(Bytes("photo.jpg", ByteArray(100) { 7 })) { error("there is nothing to load") }
        assertContains(await { it.problem != null }.problem.orEmpty(), "photo.jpg is neither a .task nor a .litertlm bundle")
        library.dismiss()
        assertNull(library.state.value.problem)
    }

    @Test fun aCancelledCopyLeavesNothing() {
        library.picked(Endless())
        await { (it.transfer?.progress?.doneBytes ?: 0) > 0 }
        library.cancel()
        await { it.transfer == null }
        runBlocking { withTimeout(20_000) { while (folder.list().orEmpty().isNotEmpty()) kotlinx.coroutines.delay(5) } }
    }

    @Test fun aSecondTransferWaitsForTheFirst() {
        library.picked(Endless())
        await { it.transfer != null }
        library.picked(Bytes("other.task", resource("chatml.task").readBytes())) { error("it must not begin") }
        assertEquals("endless.task", library.state.value.transfer?.name)
        library.cancel()
    }

    @Test fun whatAdbPushedIsOfferedAndCopiedOnce() {
        val pushed = File(adb, "pushed.task").apply { writeBytes(resource("session.task").readBytes()) }
        File(adb, "notes.txt").writeText("no bundle")
        library.start()
        assertEquals(listOf(pushed), await { it.waiting.isNotEmpty() }.waiting)
        repeat(2) {
            library.takeFromFolder(pushed)
            assertEquals(1, await { it.bundles.isNotEmpty() && it.transfer == null }.bundles.size)
        }
        library.delete(library.state.value.bundles.single())
        await { it.bundles.isEmpty() }
    }

    @Test fun whatADocumentsOwnerThrowsIsSaid() {
        val refusing = object : BundleSource {
            override val name = "m.task"
            override val sizeBytes: Long? = null

            override fun open(): InputStream = throw SecurityException("the permission was taken back")
        }
        library.picked(refusing) { error("there is nothing to load") }
        assertEquals("m.task: the permission was taken back", await { it.problem != null && it.transfer == null }.problem)
        assertNull(folder.list()?.firstOrNull())
    }

    @Test fun aMistypedAddressIsSaidAtOnce() {
        library.download("example.com/m.task", "00")
        assertContains(library.state.value.problem.orEmpty(), "is no web address")
    }

    private class Endless : BundleSource {
        override val name = "endless.task"
        override val sizeBytes: Long? = null

        override fun open() = object : InputStream() {
            override fun read() = 0

            override fun read(buffer: ByteArray, offset: Int, count: Int): Int {
                Thread.sleep(2)
                return 1000
            }
        }
    }
}
