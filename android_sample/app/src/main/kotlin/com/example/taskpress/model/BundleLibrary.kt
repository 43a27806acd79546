package com.example.taskpress.model

import java.io.File
import kotlinx.coroutines.CancellationException
import kotlinx.coroutines.CoroutineDispatcher
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Job
import kotlinx.coroutines.ensureActive
import kotlinx.coroutines.flow.MutableStateFlow
import kotlinx.coroutines.flow.StateFlow
import kotlinx.coroutines.flow.asStateFlow
import kotlinx.coroutines.flow.update
import kotlinx.coroutines.launch
import kotlinx.coroutines.sync.Mutex
import kotlinx.coroutines.sync.withLock
import kotlinx.coroutines.withContext

/** A bundle that is on its way in. */
data class Transfer(val name: String, val progress: Progress)

/** [waiting]: bundles in the adb folder. */
data class LibraryState(
    val bundles: List<StoredBundle> = emptyList(),
    val waiting: List<File> = emptyList(),
    val transfer: Transfer? = null,
    val problem: String? = null,
)

/** The bundles on the phone and the three ways to get one in. No Android in here: it is unit-tested on the JVM. */
class BundleLibrary(
    private val scope: CoroutineScope,
    private val work: CoroutineDispatcher,
    private val store: BundleStore,
    private val adbFolder: File?,
) {
    private val states = MutableStateFlow(LibraryState())
    val state: StateFlow<LibraryState> = states.asStateFlow()
    private val listing = Mutex()
    private var sweep: Job? = null
    private var job: Job? = null

    fun start() {
        sweep = scope.launch { withContext(work) { store.sweep() } }
        look()
    }

    fun look() {
        scope.launch { refresh() }
    }

    /** The picker's answer; null when the user left it without a choice, and then nothing changes. */
    fun picked(source: BundleSource?, then: (StoredBundle) -> Unit = {}) {
        if (source != null) transfer(source.name, then) { progress -> store.add(source, progress) }
    }

    fun takeFromFolder(file: File, then: (StoredBundle) -> Unit = {}) = picked(FileSource(file), then)

    fun download(address: String, sha256: String, then: (StoredBundle) -> Unit = {}) {
        val download = try {
            Download(address, sha256, store)
        } catch (e: BundleException) {
            say(e.message.orEmpty())
            return
        }
        transfer(download.name, then, download::run)
    }

    fun cancel() {
        job?.cancel()
    }

    fun delete(bundle: StoredBundle) {
        scope.launch {
            withContext(work) { store.delete(bundle.file) }
            refresh()
        }
    }

    fun say(problem: String) = states.update { it.copy(problem = problem) }

    fun dismiss() = states.update { it.copy(problem = null) }

    private fun transfer(name: String, then: (StoredBundle) -> Unit, bring: ((Progress) -> Unit) -> File) {
        if (states.value.transfer != null) return
        states.update { it.copy(transfer = Transfer(name, Progress(0, null)), problem = null) }
        job = scope.launch {
            val file = try {
                sweep?.join() // a picker's answer comes at once where Android had ended the app behind it
                withContext(work) {
                    val context = coroutineContext
                    bring { progress ->
                        context.ensureActive() // how a cancelled copy leaves its loop
                        states.update { it.copy(transfer = Transfer(name, progress)) }
                    }
                }
            } catch (e: CancellationException) {
                throw e
            } catch (e: Exception) { // a document's owner and the network may throw what they like
                states.update {
                    it.copy(problem = if (e is BundleException) e.message else "$name: ${e.message ?: e.javaClass.simpleName}")
                }
                null
            } finally {
                states.update { it.copy(transfer = null) }
            }
            refresh()
            states.value.bundles.firstOrNull { it.file == file }?.let(then)
        }
        job?.invokeOnCompletion { cause -> if (cause is CancellationException) look() }
    }

    /** One at a time, so that the list that was read last is shown last. */
    private suspend fun refresh() = listing.withLock {
        val (bundles, waiting) = withContext(work) {
            val pushed = adbFolder?.listFiles { file: File -> BundleKind.entries.any { file.name.endsWith(it.suffix) } }.orEmpty()
            store.bundles() to pushed.sortedBy { it.name }
        }
        states.update { it.copy(bundles = bundles, waiting = waiting) }
    }
}
