package com.example.taskpress.model

import com.example.taskpress.model.BundleStore.Companion.hex
import com.example.taskpress.model.BundleStore.Companion.megabytes
import java.io.File
import java.io.IOException
import java.io.RandomAccessFile
import java.net.HttpURLConnection
import java.net.MalformedURLException
import java.net.URL
import java.security.MessageDigest

/**
 * A download that goes on where it stopped, and that is kept only when its SHA-256 is the one that was asked for.
 *
 * The part stays when the line breaks or the app goes; the next try asks the server for the rest.
 */
class Download(address: String, sha256: String, private val store: BundleStore) {
    private val url = try {
        URL(address.trim()).also { if (it.protocol !in setOf("https", "http")) throw MalformedURLException(it.protocol) }
    } catch (e: MalformedURLException) {
        throw BundleException("\"$address\" is no web address; it begins with https://", e)
    }
    private val sha256 = sha256.trim().lowercase().also {
        val digits = Regex("[0-9a-f]{64}")
        if (!it.matches(digits)) throw BundleException("The SHA-256 has 64 digits of 0-9 and a-f; `sha256sum FILE` prints it")
    }
    val name: String = url.path.substringAfterLast('/').ifEmpty { "bundle" }

    /** Gets the file; [progress] may throw to give up, the part then stays. Raises [BundleException]. */
    fun run(progress: (Progress) -> Unit = {}): File {
        val part = store.downloadPart(sha256)
        try {
            fetch(part, progress)
        } catch (e: IOException) {
            if (e is BundleException) throw e
            val reason = e.message ?: e.javaClass.simpleName
            throw BundleException("The download of $name broke off after ${megabytes(part.length())}: $reason. Start it again to go on", e)
        }
        val found = digest(part)
        if (found != sha256) {
            part.delete()
            throw BundleException("$name has the SHA-256 $found, not the one that was asked for; it was deleted")
        }
        return store.keep(part, name, sha256).also { part.delete() }
    }

    private fun fetch(part: File, progress: (Progress) -> Unit) {
        val have = part.length()
        val connection = url.openConnection() as HttpURLConnection
        connection.connectTimeout = TIMEOUT_MS
        connection.readTimeout = TIMEOUT_MS
        if (have > 0) connection.setRequestProperty("Range", "bytes=$have-")
        try {
            val start = when (val code = connection.responseCode) {
                // the server sends all of it, whatever was asked
                HttpURLConnection.HTTP_OK -> 0

                HttpURLConnection.HTTP_PARTIAL -> start(connection, have)

                // all of it is there; its SHA-256 decides
                RANGE_NOT_SATISFIABLE -> return

                else -> throw BundleException("The server answers $code for $name; check the address")
            }
            val rest = connection.contentLengthLong
            if (rest > 0) store.needSpace(rest, name)
            write(connection, part, start, if (rest < 0) null else start + rest, progress)
        } finally {
            connection.disconnect()
        }
    }

    private fun start(connection: HttpURLConnection, have: Long): Long {
        val range = connection.getHeaderField("Content-Range").orEmpty()
        if (!range.startsWith("bytes $have-")) throw BundleException("The server sends \"$range\" of $name, not the rest from byte $have")
        return have
    }

    private fun write(connection: HttpURLConnection, part: File, start: Long, total: Long?, progress: (Progress) -> Unit) {
        RandomAccessFile(part, "rw").use { output ->
            output.setLength(start)
            output.seek(start)
            val buffer = ByteArray(CHUNK_BYTES)
            var done = start
            connection.inputStream.use { input ->
                while (true) {
                    val count = input.read(buffer)
                    if (count < 0) break
                    output.write(buffer, 0, count)
                    done += count
                    progress(Progress(done, total))
                }
            }
            output.fd.sync()
            if (total != null && done < total) throw IOException("$done of $total bytes came")
        }
    }

    private fun digest(file: File): String {
        val digest = MessageDigest.getInstance("SHA-256")
        val buffer = ByteArray(CHUNK_BYTES)
        file.inputStream().use { input ->
            while (true) {
                val count = input.read(buffer)
                if (count < 0) break
                digest.update(buffer, 0, count)
            }
        }
        return digest.hex()
    }

    private companion object {
        const val TIMEOUT_MS = 30_000
        const val CHUNK_BYTES = 1 shl 16
        const val RANGE_NOT_SATISFIABLE = 416
    }
}
