package com.example.taskpress.llm

import com.example.taskpress.model.BundleKind
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertNull
import kotlin.test.assertTrue
import kotlinx.coroutines.flow.take
import kotlinx.coroutines.flow.toList
import kotlinx.coroutines.runBlocking
import org.junit.Before
import org.junit.Test
import standin.EngineLog

/** The adapter against our stand-in for LiteRT-LM, which tells when a conversation is closed under a reply. */
class LiteRtLmModelTest {
    @Before fun clear() = EngineLog.LINES.clear()

    private fun open(name: String = "m.litertlm", backend: Backend = Backend.CPU) =
        openModel(fakeContext(), request(name, BundleKind.LITERTLM), backend)

    @Test fun streamsTheReply() = runBlocking {
        open().use { model ->
            assertNull(model.countTokens("hello"))
            assertEquals("olleh", model.reply("hello").toList().joinToString(""))
            assertEquals(10, model.usedTokens)
        }
        assertEquals(listOf("engine CPU", "conversation", "done", "conversation closed", "engine closed"), log())
    }

    @Test fun stoppingWaitsForTheEngine() = runBlocking {
        open().use { model ->
            assertEquals(listOf("a", "b"), model.reply("#ba").take(2).toList())
            model.reset()
            assertEquals("ko", model.reply("ok").toList().joinToString(""))
        }
        assertTrue("conversation closed during a reply" !in log(), log().toString())
        assertEquals(1, log().count { it == "cancelled" })
    }

    @Test fun anErrorOfTheEngineEndsTheReply() = runBlocking {
        open("breaks.litertlm").use { model ->
            assertEquals(
                "Status Code: 13. Message: out of memory",
                assertFailsWith<RuntimeException> {
                    model.reply("hi").toList()
                }.message,
            )
        }
    }

    @Test fun aMessageThatIsRefusedAtOnceIsNotWaitedFor() = runBlocking {
        open("nosend.litertlm").use { model ->
            assertFailsWith<RuntimeException> { model.reply("hi").toList() }
        }
        assertEquals("engine closed", log().last())
    }

    @Test fun closingTwiceClosesOnce() {
        val model = open()
        model.close()
        model.close()
        assertEquals(1, log().count { it == "engine closed" })
    }

    @Test fun aGpuThatIsNotThereThrows() {
        assertFailsWith<RuntimeException> { open("nogpu.litertlm", Backend.GPU) }
        open("nogpu.litertlm").close()
    }

    @Test fun aMissingLibraryIsAnError() {
        assertFailsWith<UnsatisfiedLinkError> { open("nolib.litertlm") }
    }
}
