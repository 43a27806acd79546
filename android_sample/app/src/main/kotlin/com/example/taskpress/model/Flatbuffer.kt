package com.example.taskpress.model

/** A table of a flatbuffer that lies in [window]; only what is asked for is read. Source: "FlatBuffer internals". */
class Flatbuffer private constructor(private val window: Window, private val at: Long) {
    private val fieldsAt = at - window.i32(at)
    private val fieldsBytes = window.u16(fieldsAt)

    fun number(field: Int, sizeBytes: Int): Long {
        val position = position(field) ?: return 0
        return when (sizeBytes) {
            1 -> window.read(position, 1)[0].toLong() and 0xff
            4 -> window.u32(position)
            else -> window.i64(position)
        }
    }

    fun text(field: Int): String {
        val (start, count) = vector(field) ?: return ""
        if (count > MAX_TEXT_BYTES) throw BundleException("${window.name} is damaged: a name of $count bytes")
        return window.read(start, count.toInt()).decodeToString()
    }

    fun shape(field: Int): List<Int> {
        val (start, count) = vector(field) ?: return emptyList()
        if (count > MAX_RANK) throw BundleException("${window.name} is damaged: a tensor of $count dimensions")
        return List(count.toInt()) { window.i32(start + 4L * it) }
    }

    fun table(field: Int): Flatbuffer? = position(field)?.let { Flatbuffer(window, target(it)) }

    fun size(field: Int): Long = vector(field)?.second ?: 0

    /** One of a vector of tables. */
    fun element(field: Int, index: Long): Flatbuffer {
        val (start, count) = vector(field) ?: (0L to 0L)
        if (index < 0 || index >= count) throw BundleException("${window.name} is damaged: element $index of $count")
        return Flatbuffer(window, target(start + 4 * index))
    }

    fun elements(field: Int): Sequence<Flatbuffer> {
        val count = size(field)
        if (count > MAX_ELEMENTS) throw BundleException("${window.name} is damaged: a list of $count elements")
        return (0 until count).asSequence().map { element(field, it) }
    }

    private fun position(field: Int): Long? {
        val slot = 4 + 2 * field
        if (slot + 2 > fieldsBytes) return null
        return window.u16(fieldsAt + slot).takeIf { it != 0 }?.let { at + it }
    }

    private fun vector(field: Int): Pair<Long, Long>? {
        val start = target(position(field) ?: return null)
        return start + 4 to window.u32(start)
    }

    private fun target(position: Long): Long = position + window.u32(position)

    companion object {
        private const val MAX_TEXT_BYTES = 1 shl 16
        private const val MAX_RANK = 32
        private const val MAX_ELEMENTS = 100_000L

        fun root(window: Window): Flatbuffer = Flatbuffer(window, window.u32(0))
    }
}
