package com.example.taskpress.model

import java.io.File
import java.io.IOException
import java.io.InputStream
import java.security.MessageDigest

/** A bundle that lies in the store: [info] of one that can be opened, else [problem] in words. */
data class StoredBundle(val file: File, val sizeBytes: Long, val info: BundleInfo?, val problem: String? = null)

/** Bytes done of all bytes; [totalBytes] is null where the sender does not say. */
data class Progress(val doneBytes: Long, val totalBytes: Long?)

/** Where a bundle comes from: a picked document, a file of the adb folder. */
interface BundleSource {
    val name: String
    val sizeBytes: Long?

    fun open(): InputStream
}

/** A file that lies on the phone already, such as one that `adb push` brought. */
class FileSource(private val file: File) : BundleSource {
    override val name: String get() = file.name
    override val sizeBytes: Long get() = file.length()

    override fun open(): InputStream = file.inputStream()
}

/**
 * The bundles in the app's own storage.
 *
 * A bundle appears whole or not at all: it is written beside its place, checked, and renamed. Its name ends in the
 * first letters of its SHA-256, because the engines keep their caches of weights by the file's name: a new bundle
 * under an old name would be run with the old one's weights.
 */
class BundleStore(private val folder: File, private val caches: File, private val freeBytes: (File) -> Long = File::getUsableSpace) {
    /** Removes what a copy that was interrupted with the app left; parts of downloads stay, they are resumed. */
    fun sweep() {
        folder.listFiles { file: File -> file.name.startsWith(COPY) }?.forEach { it.delete() }
    }

    fun bundles(): List<StoredBundle> = files().map { file ->
        try {
            StoredBundle(file, file.length(), BundleInfo.read(file))
        } catch (e: BundleException) {
            StoredBundle(file, file.length(), null, e.message)
        }
    }

    /**
     * Copies a bundle in. [progress] is told now and then, and may throw to give up.
     * Raises [BundleException]; nothing is left of a copy that failed.
     */
    fun add(source: BundleSource, progress: (Progress) -> Unit = {}): File {
        val total = source.sizeBytes
        needSpace(total ?: 0, source.name)
        val part = File.createTempFile(COPY, ".part", folder)
        try {
            val digest = MessageDigest.getInstance("SHA-256")
            val copied = source.open().use { copy(it, part, digest, total, progress) }
            if (total != null && total > 0 && copied != total) {
                throw BundleException("${source.name} ended after $copied of $total bytes; copy it again")
            }
            return keep(part, source.name, digest.hex())
        } catch (e: IOException) {
            throw e as? BundleException ?: BundleException("${source.name} cannot be copied: ${e.message}", e)
        } finally {
            part.delete()
        }
    }

    /** Checks a whole [part] and gives it its place; [sha256] is of its bytes. */
    fun keep(part: File, name: String, sha256: String): File {
        val kind = try {
            BundleInfo.read(part).kind
        } catch (e: BundleException) {
            // the part's own name means nothing to the user
            throw BundleException(e.message.orEmpty().replace(part.name, name), e)
        }
        val file = File(folder, "${stem(name)}-${sha256.take(NAME_DIGITS)}${kind.suffix}")
        if (file.length() == part.length()) return file // the same bytes are there already
        if (!part.renameTo(file)) throw BundleException("$name cannot be written to $folder")
        return file
    }

    /** The place of a download's part: by content, so that another address of the same file resumes it. */
    fun downloadPart(sha256: String): File {
        makeFolder()
        return File(folder, "$DOWNLOAD$sha256.part")
    }

    /** Raises [BundleException] unless [bytes] more fit, with some room for the engine's cache. */
    fun needSpace(bytes: Long, name: String) {
        makeFolder()
        val free = freeBytes(folder)
        if (bytes + SPARE_BYTES > free) {
            throw BundleException(
                "$name needs ${megabytes(bytes + SPARE_BYTES)} of storage, ${megabytes(free)} are free; remove a bundle or other files",
            )
        }
    }

    /** Deletes a bundle and the caches that the engines keep under its name. */
    fun delete(file: File) {
        file.delete()
        caches.listFiles { cache: File -> cache.name.startsWith(file.name) }?.forEach { it.delete() }
    }

    private fun files(): List<File> = folder.listFiles { file: File -> BundleKind.entries.any { file.name.endsWith(it.suffix) } }
        .orEmpty().sortedBy { it.name }

    private fun makeFolder() {
        if (!folder.isDirectory && !folder.mkdirs()) throw BundleException("$folder cannot be made")
    }

    private fun copy(input: InputStream, part: File, digest: MessageDigest, total: Long?, progress: (Progress) -> Unit): Long {
        var done = 0L
        part.outputStream().use { output ->
            val buffer = ByteArray(CHUNK_BYTES)
            while (true) {
                val count = input.read(buffer)
                if (count < 0) break
                output.write(buffer, 0, count)
                digest.update(buffer, 0, count)
                done += count
                progress(Progress(done, total))
            }
            output.fd.sync()
        }
        return done
    }

    companion object {
        private const val COPY = "copy-"
        private const val DOWNLOAD = "download-"
        private const val NAME_DIGITS = 12
        private const val CHUNK_BYTES = 1 shl 20
        private const val SPARE_BYTES = 256L shl 20

        fun MessageDigest.hex(): String = digest().joinToString("") { "%02x".format(it) }

        fun megabytes(bytes: Long): String =
            if (bytes >= 1L shl 30) "%.1f GB".format(java.util.Locale.ROOT, bytes / 1e9) else "${(bytes + 999_999) / 1_000_000} MB"

        /** A bundle's name for people: without what [keep] put behind it. */
        fun shortName(fileName: String): String = fileName.substringBeforeLast('.').replace(Regex("-[0-9a-f]{$NAME_DIGITS}$"), "")

        /** A name from elsewhere may hold anything; what is left of it cannot leave the folder. */
        private fun stem(name: String): String = name.substringAfterLast('/').removeSuffix(".task").removeSuffix(".litertlm")
            .replace(Regex("[^A-Za-z0-9._-]+"), "_").trim('.', '_').take(60).ifEmpty { "bundle" }
    }
}
