package com.example.taskpress

import android.app.ActivityManager
import android.content.Context
import androidx.lifecycle.ViewModel
import com.example.taskpress.chat.ChatController
import com.example.taskpress.chat.Memory
import com.example.taskpress.llm.Backend
import com.example.taskpress.llm.LoadRequest
import com.example.taskpress.llm.openModel
import com.example.taskpress.model.BundleLibrary
import com.example.taskpress.model.BundleSource
import com.example.taskpress.model.BundleStore
import com.example.taskpress.model.StoredBundle
import com.example.taskpress.ui.AppActions
import com.example.taskpress.ui.Screen
import java.io.File
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.SupervisorJob
import kotlinx.coroutines.cancel
import kotlinx.coroutines.flow.MutableStateFlow

/** Holds what must outlive a rotation: the engine, the chat, a copy that runs. */
class ChatViewModel(private val app: Context) :
    ViewModel(),
    AppActions {
    // not viewModelScope: that ends before the engine could be closed after its last reply
    private val scope = CoroutineScope(SupervisorJob() + Dispatchers.Main.immediate)
    private val adb: File? = app.getExternalFilesDir(BUNDLES)
    private val store = BundleStore(File(app.filesDir, BUNDLES), app.cacheDir)
    val adbFolder: String = adb?.path ?: "(this phone has no shared storage)"
    val chat =
        ChatController(scope, Dispatchers.IO.limitedParallelism(1), { request, backend -> openModel(app, request, backend) }, ::memory)
    val library = BundleLibrary(scope, Dispatchers.IO, store, adb)
    val screen = MutableStateFlow(Screen.CHAT)

    /** Set by the activity that is there now; a picker needs one. */
    var onPick: () -> Unit = {}

    init {
        library.start()
    }

    fun picked(source: BundleSource?) = library.picked(source, ::load)

    override fun edit(draft: String) = chat.edit(draft)

    override fun send() = chat.send()

    override fun stop() = chat.stop()

    override fun newChat() = chat.newChat()

    override fun want(backend: Backend) = chat.want(backend)

    override fun load(bundle: StoredBundle) {
        val info = bundle.info ?: return
        show(Screen.CHAT)
        chat.load(LoadRequest(bundle.file, info))
    }

    override fun loadAnyway() {
        val request = chat.state.value.memory?.request ?: return
        chat.dismiss()
        chat.load(request, anyway = true)
    }

    override fun loadAgain() {
        val loaded = chat.state.value.model ?: return
        library.state.value.bundles.firstOrNull { it.file.name == loaded.name }?.let(::load)
    }

    override fun pick() = onPick()

    override fun take(file: File) = library.takeFromFolder(file, ::load)

    override fun download(address: String, sha256: String) = library.download(address, sha256, ::load)

    override fun cancelTransfer() = library.cancel()

    override fun delete(bundle: StoredBundle) = library.delete(bundle)

    override fun dismiss() {
        chat.dismiss()
        library.dismiss()
    }

    override fun show(screen: Screen) {
        this.screen.value = screen
        if (screen == Screen.SETTINGS) library.look()
    }

    override fun onCleared() {
        onPick = {}
        chat.unload().invokeOnCompletion { scope.cancel() }
    }

    private fun memory(): Memory {
        val info = ActivityManager.MemoryInfo()
        (app.getSystemService(Context.ACTIVITY_SERVICE) as ActivityManager).getMemoryInfo(info)
        return Memory(info.availMem, info.threshold)
    }

    private companion object {
        const val BUNDLES = "bundles"
    }
}
