package com.example.taskpress.llm

import com.example.taskpress.chat.ChatController
import com.example.taskpress.chat.ChatState
import com.example.taskpress.chat.Memory
import com.example.taskpress.chat.Phase
import com.example.taskpress.model.BundleKind
import kotlin.test.assertContains
import kotlin.test.assertEquals
import kotlin.test.assertNotNull
import kotlin.test.assertTrue
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.Job
import kotlinx.coroutines.cancel
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withTimeout
import org.junit.After
import org.junit.Before
import org.junit.Test
import standin.EngineLog

/** The chat with both adapters, on the stand-ins for their libraries: what a user does, down to what the engines are told. */
class WholeChatTest {
    private val main = Dispatchers.Default.limitedParallelism(1)
    private val scope = CoroutineScope(Job() + main)
    private val work = Dispatchers.IO.limitedParallelism(1)
    private val memory = Memory(availableBytes = 1L shl 30, thresholdBytes = 0)
    private val chat = ChatController(scope, work, { request, backend -> openModel(fakeContext(), request, backend) }, { memory })

    @Before fun clear() = EngineLog.LINES.clear()

    @After fun end() = scope.cancel()

    private fun await(what: (ChatState) -> Boolean): ChatState = runBlocking { withTimeout(20_000) { chat.state.first(what) } }

    private fun <T> act(action: ChatController.() -> T): T = runBlocking(main) { chat.action() }

    private fun load(name: String, kind: BundleKind) {
        act { load(request("$name${kind.suffix}", kind)) }
        await { it.phase == Phase.READY || it.problem != null }
    }

    private fun send(text: String) = act {
        edit(text)
        send()
    }

    private fun forBothEngines(test: (BundleKind) -> Unit) = BundleKind.entries.forEach { kind ->
        EngineLog.LINES.clear()
        test(kind)
        runBlocking { act { unload() }.join() }
        act { dismiss() }
    }

    @Test fun aReplyStreamsInItsOrder() = forBothEngines { kind ->
        load("m", kind)
        send("hello")
        val state = await { it.phase == Phase.READY && it.messages.size == 2 }
        assertEquals(listOf("hello", "olleh"), state.messages.map { it.text })
        assertTrue(state.budget.usedTokens >= 10, state.budget.toString())
        assertNotNull(state.speed)
    }

    @Test fun stopWhileTheMessageIsRead() = forBothEngines { kind ->
        load("m", kind)
        send("#")
        await { it.messages.size == 2 }
        act { stop() }
        val state = await { it.phase == Phase.READY }
        assertTrue(state.messages.last().stopped)
        send("ok")
        assertEquals("ko", await { it.phase == Phase.READY && it.messages.size == 4 }.messages.last().text)
    }

    @Test fun stopWhileTheReplyIsWritten() = forBothEngines { kind ->
        load("m", kind)
        send("#0123456789")
        await { it.phase == Phase.WRITING }
        act { stop() }
        val message = await { it.phase == Phase.READY }.messages.last()
        assertTrue("9876543210".startsWith(message.text) && message.text.isNotEmpty(), message.text)
        assertContains(log(), "cancelled")
    }

    @Test fun closingDuringAReplyWaitsForTheEngine() = forBothEngines { kind ->
        load("m", kind)
        send("#0123456789")
        await { it.phase == Phase.WRITING }
        runBlocking { act { unload() }.join() }
        assertEquals(listOf("cancelled", "engine closed"), log().filter { it == "cancelled" || "during" in it || it == "engine closed" })
    }

    @Test fun aNewChatIsANewSession() = forBothEngines { kind ->
        load("m", kind)
        send("hello")
        await { it.phase == Phase.READY && it.messages.size == 2 }
        act { newChat() }
        assertEquals(0, await { it.messages.isEmpty() }.budget.usedTokens)
        assertEquals(1, log().count { it.startsWith("engine ") })
    }

    @Test fun aGpuThatFailsIsReplaced() = forBothEngines { kind ->
        load("nogpu", kind)
        assertEquals(Backend.CPU, chat.state.value.model?.backend)
        assertContains(chat.state.value.model?.note.orEmpty(), "no OpenCL")
    }

    @Test fun aBundleThatTheEngineRefusesIsSaid() = forBothEngines { kind ->
        load("bad", kind)
        assertContains(chat.state.value.problem.orEmpty(), "bad model")
    }

    @Test fun aMissingNativeLibraryIsSaid() = forBothEngines { kind ->
        load("nolib", kind)
        assertContains(chat.state.value.problem.orEmpty(), "native library is missing")
    }

    @Test fun aFullContextIsSaid() {
        load("m", BundleKind.TASK)
        send("x".repeat(60))
        assertContains(await { it.problem != null }.problem.orEmpty(), "the bundle's context is 64")
        send("y".repeat(30))
        await { it.phase == Phase.READY && it.messages.size == 2 }
        send("more")
        assertContains(await { it.problem != null }.problem.orEmpty(), "The context is full")
    }
}
