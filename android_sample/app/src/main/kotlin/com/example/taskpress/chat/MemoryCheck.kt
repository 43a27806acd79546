package com.example.taskpress.chat

import com.example.taskpress.model.BundleInfo
import com.example.taskpress.model.BundleStore.Companion.megabytes

/** What the system says of memory; it begins to close apps below [thresholdBytes]. */
data class Memory(val availableBytes: Long, val thresholdBytes: Long)

/**
 * Why loading [info] may end the app, in words; null when there is room.
 *
 * The weights are mapped, but each token reads all of them, so they must fit; a quarter more is a rough
 * allowance for the key/value cache and the engine, not a measurement.
 */
fun memoryWarning(info: BundleInfo, memory: Memory): String? {
    val needed = info.sizeBytes + info.sizeBytes / 4
    val free = maxOf(0, memory.availableBytes - memory.thresholdBytes)
    if (needed <= free) return null
    return "The bundle needs about ${megabytes(needed)} of memory and ${megabytes(free)} are free. " +
        "Android may close the app while it loads. Close other apps, or use a smaller bundle"
}
