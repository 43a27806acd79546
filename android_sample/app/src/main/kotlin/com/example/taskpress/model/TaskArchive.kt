package com.example.taskpress.model

/**
 * The entries of a `.task`: a zip whose entries are stored as they are, so that the engine can map them.
 *
 * Java's own zip reader does not say where an entry's bytes lie, and the model is read in place.
 * Source: APPNOTE.TXT 6.3.10, sections 4.3.7 to 4.3.16.
 */
class TaskArchive(private val file: Window) {
    val entries: Map<String, Window> = readDirectory()

    fun entry(name: String): Window = entries[name]
        ?: throw BundleException("${file.name} has no $name inside, only ${entries.keys.ifEmpty { "nothing" }}; it is no .task bundle")

    private fun readDirectory(): Map<String, Window> {
        val (start, size, count) = findDirectory()
        if (size > MAX_DIRECTORY_BYTES) throw BundleException("${file.name} lists $size bytes of names; it is no .task bundle")
        val directory = file.part(start, size, "${file.name}: list of entries")
        val found = LinkedHashMap<String, Window>()
        var at = 0L
        repeat(count) {
            if (directory.u32(at) != CENTRAL) throw BundleException("${file.name} is damaged: its list of entries breaks off")
            val nameBytes = directory.u16(at + 28)
            val extraBytes = directory.u16(at + 30)
            val name = directory.read(at + 46, nameBytes).decodeToString()
            val method = directory.u16(at + 10)
            if (method != 0) throw BundleException("$name is compressed in ${file.name}; a bundle is stored uncompressed (`zip -0`)")
            if (directory.u16(at + 8) and 1 != 0) throw BundleException("$name is encrypted in ${file.name}; a bundle is not")
            val packed = directory.u32(at + 20)
            val unpacked = directory.u32(at + 24)
            val offset = directory.u32(at + 42)
            val wide = wideNumbers(directory, at + 46 + nameBytes, extraBytes).iterator()
            val size64 = if (unpacked == U32) wide.nextOr(name) else unpacked
            if (packed == U32) wide.nextOr(name)
            val header = if (offset == U32) wide.nextOr(name) else offset
            if (found.put(name, data(name, header, size64)) != null) throw BundleException("${file.name} has $name twice")
            at += 46 + nameBytes + extraBytes + directory.u16(at + 32)
        }
        return found
    }

    private fun Iterator<Long>.nextOr(name: String): Long =
        if (hasNext()) next() else throw BundleException("${file.name} is damaged: $name has no 64-bit size")

    private fun wideNumbers(directory: Window, start: Long, bytes: Int): List<Long> {
        var at = start
        while (at + 4 <= start + bytes) {
            val size = directory.u16(at + 2)
            if (directory.u16(at) == 1) return List(size / 8) { directory.i64(at + 4 + 8L * it) }
            at += 4 + size
        }
        return emptyList()
    }

    private fun data(name: String, header: Long, size: Long): Window {
        val local = file.part(header, LOCAL_BYTES, "$name in ${file.name}")
        if (local.u32(0) != LOCAL) throw BundleException("${file.name} is damaged: $name does not begin where its list says")
        return file.part(header + LOCAL_BYTES + local.u16(26) + local.u16(28), size, "$name in ${file.name}")
    }

    /** Where the list of entries begins, its bytes, and how many there are. */
    private fun findDirectory(): Triple<Long, Long, Int> {
        val tail = minOf(file.sizeBytes, MAX_TAIL_BYTES)
        val bytes = file.numbers(file.sizeBytes - tail, tail.toInt())
        val at = (bytes.limit() - END_BYTES downTo 0).firstOrNull { bytes.getInt(it).toLong() == END }
            ?: throw BundleException(
                "${file.name} ends without a zip's list of entries: it is no .task bundle, or was cut off while it was copied",
            )
        val end = file.sizeBytes - tail + at
        val count = file.u16(end + 10)
        if (count != U16 && file.u32(end + 12) != U32 && file.u32(end + 16) != U32) {
            return Triple(file.u32(end + 16), file.u32(end + 12), count)
        }
        val locator = end - LOCATOR_BYTES
        val missing = BundleException("${file.name} is damaged: its 64-bit list of entries is missing")
        if (locator < 0 || file.u32(locator) != LOCATOR) throw missing
        val wide = file.i64(locator + 8)
        if (file.part(wide, END64_BYTES, file.name).u32(0) != END64) throw missing
        val many = file.i64(wide + 32)
        if (many !in 0..MAX_ENTRIES) throw BundleException("${file.name} has $many entries; it is no .task bundle")
        return Triple(file.i64(wide + 48), file.i64(wide + 40), many.toInt())
    }

    private companion object {
        const val LOCAL = 0x04034b50L
        const val CENTRAL = 0x02014b50L
        const val END = 0x06054b50L
        const val END64 = 0x06064b50L
        const val LOCATOR = 0x07064b50L
        const val LOCAL_BYTES = 30L
        const val END_BYTES = 22
        const val END64_BYTES = 56L
        const val LOCATOR_BYTES = 20L
        const val U16 = 0xffff
        const val U32 = 0xffff_ffffL
        const val MAX_TAIL_BYTES = 22L + 0xffff
        const val MAX_DIRECTORY_BYTES = 1L shl 20
        const val MAX_ENTRIES = 1_000L
    }
}
