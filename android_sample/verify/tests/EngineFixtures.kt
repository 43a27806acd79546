package com.example.taskpress.llm

import android.content.Context
import com.example.taskpress.model.BundleInfo
import com.example.taskpress.model.BundleKind
import com.example.taskpress.model.TextFormat
import java.io.File
import standin.EngineLog

class FakeContext : Context() {
    override fun getCacheDir() = File("/tmp")
}

/** android.jar's Context has no body to run, so none of its constructors is. */
fun fakeContext(): Context {
    val unsafe = Class.forName("sun.misc.Unsafe").getDeclaredField("theUnsafe").apply { isAccessible = true }.get(null) as sun.misc.Unsafe
    return unsafe.allocateInstance(FakeContext::class.java) as Context
}

fun request(name: String, kind: BundleKind) =
    LoadRequest(File("/bundles/$name"), BundleInfo(kind, 1000, 64, TextFormat("<s>", listOf("</s>"), userPrefix = "U")))

fun log(): List<String> = synchronized(EngineLog.LINES) { EngineLog.LINES.toList() }
