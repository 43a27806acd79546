package com.example.taskpress.ui

import com.example.taskpress.llm.Backend
import com.example.taskpress.model.StoredBundle
import java.io.File

enum class Screen { CHAT, SETTINGS }

/** All that the user can do. The screens know nothing else of the app, so they can be drawn and clicked without a phone. */
interface AppActions {
    fun edit(draft: String)
    fun send()
    fun stop()
    fun newChat()
    fun want(backend: Backend)
    fun load(bundle: StoredBundle)
    fun loadAnyway()
    fun loadAgain()
    fun pick()
    fun take(file: File)
    fun download(address: String, sha256: String)
    fun cancelTransfer()
    fun delete(bundle: StoredBundle)
    fun dismiss()
    fun show(screen: Screen)
}
