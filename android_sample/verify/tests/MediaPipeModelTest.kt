package com.example.taskpress.llm

import com.example.taskpress.model.BundleKind
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertNull
import kotlin.test.assertTrue
import kotlinx.coroutines.flow.take
import kotlinx.coroutines.flow.toList
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withTimeoutOrNull
import org.junit.Before
import org.junit.Test
import standin.EngineLog

/** The adapter against our stand-in for tasks-genai, which has its lock: what is called too early throws. */
class MediaPipeModelTest {
    @Before fun clear() = EngineLog.LINES.clear()

    private fun open(name: String = "m.task", backend: Backend = Backend.CPU) =
        openModel(fakeContext(), request(name, BundleKind.TASK), backend)

    @Test fun streamsTheReplyAndCountsItsTokens() = runBlocking {
        open().use { model ->
            assertEquals(9, model.countTokens("hello"))
            assertEquals("olleh", model.reply("hello").toList().joinToString(""))
            assertEquals(9 + 5, model.usedTokens)
            assertEquals(6, model.countTokens("again"), "the start token is counted once")
        }
        assertEquals(listOf("engine CPU 64", "session topK=40", "done", "session closed", "engine closed"), log())
    }

    @Test fun stoppingWhileItWritesFreesTheEngine() = runBlocking {
        open().use { model ->
            assertEquals(listOf("a", "b"), model.reply("#ba").take(2).toList())
            assertEquals("ko", model.reply("ok").toList().joinToString(""))
            model.reset()
            assertEquals(0, model.usedTokens)
        }
        assertTrue("cancelled" in log())
    }

    @Test fun stoppingWhileItReadsFreesTheEngine() = runBlocking {
        open().use { model ->
            assertNull(withTimeoutOrNull(50) { model.reply("#").toList() })
            assertEquals("ko", model.reply("ok").toList().joinToString(""))
        }
        assertEquals(1, log().count { it == "cancelled" })
    }

    @Test fun closingTwiceClosesOnce() {
        val model = open()
        model.close()
        model.close()
        assertEquals(1, log().count { it == "engine closed" })
    }

    @Test fun theEngineIsToldTheBackendAndTheContext() {
        open(backend = Backend.GPU).close()
        assertEquals("engine GPU 64", log().first())
    }

    @Test fun aSessionThatFailsClosesTheEngine() {
        assertFailsWith<IllegalStateException> { open("nosession.task") }
        assertEquals("engine closed", log().last())
    }

    @Test fun aMissingLibraryIsAnError() {
        assertFailsWith<UnsatisfiedLinkError> { open("nolib.task") }
    }
}
