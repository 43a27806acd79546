package com.example.taskpress.model

import com.sun.net.httpserver.HttpServer
import java.io.IOException
import java.net.InetSocketAddress
import java.security.MessageDigest
import kotlin.test.assertContains
import kotlin.test.assertContentEquals
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import org.junit.After
import org.junit.Test

class DownloadTest {
    private val bytes = Files.resource("chatml.task").readBytes()
    private val sha256 = MessageDigest.getInstance("SHA-256").digest(bytes).joinToString("") { "%02x".format(it) }
    private val folder = Files.folder()
    private val store = BundleStore(folder, Files.folder())
    private val asked = mutableListOf<String?>()
    private var breakAfter: Int? = null
    private var ranges = true
    private var served = bytes
    private val server = HttpServer.create(InetSocketAddress("127.0.0.1", 0), 0).apply {
        createContext("/") { exchange ->
            val range = exchange.requestHeaders.getFirst("Range")
            asked += range
            val start = if (range != null && ranges) range.removePrefix("bytes=").removeSuffix("-").toInt() else 0
            when {
                exchange.requestURI.path == "/missing.task" -> exchange.sendResponseHeaders(404, -1)

                start >= served.size -> exchange.sendResponseHeaders(416, -1)

                else -> {
                    if (start > 0) exchange.responseHeaders.add("Content-Range", "bytes $start-${served.size - 1}/${served.size}")
                    exchange.sendResponseHeaders(if (start > 0) 206 else 200, (served.size - start).toLong())
                    val end = breakAfter?.let { minOf(served.size, start + it) } ?: served.size
                    exchange.responseBody.write(served, start, end - start)
                    exchange.responseBody.flush()
                }
            }
            runCatching { exchange.close() }
        }
        start()
    }

    private fun url(name: String = "m.task") = "http://127.0.0.1:${server.address.port}/$name"

    @After fun stop() = server.stop(0)

    @Test fun aDownloadThatBrokeOffGoesOn() {
        breakAfter = 600
        assertContains(
            assertFailsWith<BundleException> {
                Download(url(), sha256, store).run()
            }.message.orEmpty(),
            "Start it again to go on",
        )
        assertEquals(600, store.downloadPart(sha256).length())
        breakAfter = null
        val file = Download(url(), sha256, store).run()
        assertEquals(listOf(null, "bytes=600-"), asked)
        assertContentEquals(bytes, file.readBytes())
        assertEquals(listOf(file.name), folder.list().orEmpty().toList())
    }

    @Test fun aServerWithoutRangesSendsAllOfItAgain() {
        store.downloadPart(sha256).writeBytes(ByteArray(100))
        ranges = false
        assertContentEquals(bytes, Download(url(), sha256, store).run().readBytes())
    }

    @Test fun aPartThatIsWholeIsNotFetchedAgain() {
        store.downloadPart(sha256).writeBytes(bytes)
        assertContentEquals(bytes, Download(url(), sha256, store).run().readBytes())
    }

    @Test fun anotherFileIsRefusedAndDeleted() {
        served = bytes.copyOf().also { it[700] = 1 }
        assertContains(
            assertFailsWith<BundleException> {
                Download(url(), sha256, store).run()
            }.message.orEmpty(),
            "not the one that was asked for",
        )
        assertEquals(emptyList(), folder.list().orEmpty().toList())
    }

    @Test fun anAddressThatIsNotThereIsSaid() {
        assertContains(
            assertFailsWith<BundleException> {
                Download(url("missing.task"), sha256, store).run()
            }.message.orEmpty(),
            "The server answers 404 for missing.task",
        )
        server.stop(0)
        assertContains(assertFailsWith<BundleException> { Download(url(), sha256, store).run() }.message.orEmpty(), "broke off")
    }

    @Test fun givingUpKeepsThePart() {
        assertFailsWith<IOException> { Download(url(), sha256, store).run { throw IOException("given up") } }
        assertEquals(bytes.size.toLong(), store.downloadPart(sha256).length())
    }

    @Test fun mistypedAddressesAndDigestsAreSaid() {
        for (address in listOf("m.task", "ftp://x/m.task", "")) {
            assertContains(assertFailsWith<BundleException> { Download(address, sha256, store) }.message.orEmpty(), "is no web address")
        }
        assertContains(assertFailsWith<BundleException> { Download(url(), sha256.drop(1), store) }.message.orEmpty(), "64 digits")
        assertEquals("m.task", Download(url() + " ", " ${sha256.uppercase()}\n", store).name)
    }
}
