package com.example.taskpress.chat

import com.example.taskpress.llm.Backend
import com.example.taskpress.llm.EngineStuckException
import java.util.concurrent.Semaphore
import kotlin.test.assertContains
import kotlin.test.assertEquals
import kotlin.test.assertNotNull
import kotlin.test.assertNull
import kotlin.test.assertTrue
import kotlinx.coroutines.runBlocking
import org.junit.After
import org.junit.Test

class ChatControllerTest {
    private val bench = Bench()

    @After fun end() = bench.end()

    private fun texts(state: ChatState) = state.messages.map { it.text }

    @Test fun piecesStreamInTheirOrder() {
        val model = bench.ready()
        bench.send(" Count ")
        val words = (1..200).map { "$it " }
        words.forEach { model.pieces.trySend(it) }
        bench.await { it.phase == Phase.WRITING }
        model.pieces.trySend(null)
        val state = bench.await { it.phase == Phase.READY && it.messages.size == 2 }
        assertEquals(listOf("Count", words.joinToString("")), texts(state))
        assertEquals(listOf(Author.USER, Author.MODEL), state.messages.map { it.author })
        assertEquals("", state.draft)
        assertEquals(5 + words.sumOf { it.length }, state.budget.usedTokens)
    }

    @Test fun timesAreOfTheFirstTokenAndOfTheOthers() {
        val model = bench.ready()
        bench.send("Hi")
        bench.await { it.messages.size == 2 }
        for ((piece, second) in listOf("a" to 2, "b" to 3, "c" to 4)) {
            bench.nanos = second * 1_000_000_000L
            model.pieces.trySend(piece)
            bench.await { it.messages.lastOrNull()?.text?.endsWith(piece) == true }
        }
        model.pieces.trySend(null)
        assertEquals(Speed(firstTokenMs = 2000, tokensPerSecond = 1.0), bench.await { it.phase == Phase.READY }.speed)
    }

    @Test fun stopWhileTheMessageIsRead() {
        val model = bench.ready()
        bench.send("Hi")
        bench.await { it.phase == Phase.READING && it.messages.size == 2 }
        awaitLog("reply 0: Hi")
        assertEquals(
            Phase.STOPPING,
            bench.act {
                stop()
                state.value.phase
            },
        )
        val state = bench.await { it.phase == Phase.READY }
        assertEquals(listOf("Hi", ""), texts(state))
        assertTrue(state.messages.last().stopped)
        answer(model, "again", "x")
    }

    @Test fun stopWhileTheReplyIsWrittenKeepsWhatCame() {
        val model = bench.ready()
        bench.send("Hi")
        model.pieces.trySend("Hel")
        bench.await { it.phase == Phase.WRITING }
        bench.act { stop() }
        bench.act { stop() }
        val state = bench.await { it.phase == Phase.READY }
        assertEquals("Hel", state.messages.last().text)
        assertTrue(state.messages.last().stopped)
        assertEquals(5, state.budget.usedTokens)
        answer(model, "again", "x")
    }

    @Test fun aNewChatForgetsAndTheEngineStays() {
        val model = bench.ready()
        answer(model, "Hi", "Hello")
        bench.act { newChat() }
        val state = bench.await { it.messages.isEmpty() }
        assertEquals(TokenBudget(100, 0), state.budget)
        assertEquals(Phase.READY, state.phase)
        assertContains(bench.log, "reset 0")
        answer(model, "Hi", "Hello")
        assertEquals(1, bench.engines.size)
    }

    @Test fun aNewChatWaitsForTheReply() {
        val model = bench.ready()
        bench.send("Hi")
        model.pieces.trySend("Hel")
        bench.await { it.phase == Phase.WRITING }
        bench.act { newChat() }
        model.pieces.trySend(null)
        assertEquals(2, bench.await { it.phase == Phase.READY }.messages.size)
        assertTrue("reset 0" !in bench.log)
    }

    @Test fun aRotationChangesNothing() {
        val model = bench.ready()
        bench.send("Hi")
        model.pieces.trySend("Hel")
        // a screen that goes is a collector that goes; the next one finds the same state, and the reply goes on
        assertEquals("Hel", bench.await { it.phase == Phase.WRITING }.messages.last().text)
        bench.act { edit("half a message") }
        model.pieces.trySend("lo")
        model.pieces.trySend(null)
        val state = bench.await { it.phase == Phase.READY }
        assertEquals("Hello", state.messages.last().text)
        assertEquals("half a message", state.draft)
        assertEquals(1, bench.engines.size)
    }

    @Test fun aBundleThatCannotBeLoadedIsSaid() {
        bench.failures = { IllegalStateException("Failed to initialize engine\n  at line 1\n  at line 2") }
        bench.act { load(bench.request()) }
        val state = bench.await { it.problem != null }
        assertEquals("m.task: Failed to initialize engine", state.problem)
        assertEquals(Phase.NO_MODEL, state.phase)
        bench.failures = { null }
        bench.ready()
    }

    @Test fun aMissingNativeLibraryIsSaid() {
        for (error in listOf(
            UnsatisfiedLinkError("dlopen failed"),
            ExceptionInInitializerError(UnsatisfiedLinkError("x")),
            NoClassDefFoundError("LlmInference"),
        )) {
            bench.failures = { error }
            bench.act { load(bench.request()) }
            assertContains(bench.await { it.problem != null }.problem.orEmpty(), "native library is missing")
            bench.act { dismiss() }
        }
        assertTrue(bench.log.none { it.endsWith("CPU") }, "the CPU misses the same library")
    }

    @Test fun aGpuThatFailsIsReplacedVisibly() {
        bench.failures = { if (it == Backend.GPU) IllegalStateException("no OpenCL") else null }
        bench.ready()
        val model = assertNotNull(bench.state.model)
        assertEquals(Backend.CPU, model.backend)
        assertEquals("The GPU could not be used: no OpenCL", model.note)
        assertEquals(Backend.GPU, bench.state.wanted)
    }

    @Test fun tooLittleMemoryIsAskedAboutBeforeLoading() {
        bench.memory = Memory(availableBytes = 1L shl 30, thresholdBytes = 300L shl 20)
        bench.act { load(bench.request()) }
        val question = assertNotNull(bench.state.memory)
        assertContains(question.text, "needs about 1.3 GB of memory and 760 MB are free")
        assertEquals(emptyList(), bench.log)
        bench.act { dismiss() }
        assertNull(bench.state.memory)
        bench.act { load(question.request, anyway = true) }
        bench.await { it.phase == Phase.READY }
    }

    @Test fun aFullContextIsSaidAndTheDraftStays() {
        val model = bench.ready()
        bench.send("x".repeat(90))
        val refused = bench.await { it.problem != null }
        assertContains(refused.problem.orEmpty(), "The message has 90 tokens; the bundle's context is 100")
        assertEquals(90, refused.draft.length)
        assertEquals(Phase.READY, refused.phase, "who sees the problem can send again")
        answer(model, "x".repeat(70), "y".repeat(20))
        assertTrue(bench.state.budget.full)
        bench.send("more")
        assertContains(bench.await { it.problem != null }.problem.orEmpty(), "The context is full: 90 of 100 tokens are used")
        assertEquals(2, bench.state.messages.size)
    }

    @Test fun aReplyThatFailsKeepsWhatCame() {
        val model = bench.ready()
        bench.send("Hi")
        model.failure = IllegalStateException("the GPU was lost")
        model.pieces.trySend("Hel")
        model.pieces.trySend(null)
        val message = bench.await { it.phase == Phase.READY && it.messages.size == 2 }.messages.last()
        assertEquals("Hel", message.text)
        assertEquals("the GPU was lost", message.error)
    }

    @Test fun anotherBundleEndsTheReplyAndClosesTheFirst() {
        val model = bench.ready()
        bench.send("Hi")
        model.pieces.trySend("Hel")
        bench.await { it.phase == Phase.WRITING }
        bench.act {
            load(bench.request("other.task"))
            stop() // the reply ends anyway, and the bundle that was asked for still comes
        }
        bench.await { it.phase == Phase.READY && it.model?.name == "other.task" }
        assertEquals(listOf("open m.task GPU", "reply 0: Hi", "ended 0", "closed 0", "open other.task GPU"), bench.log)
    }

    @Test fun closingDuringAReplyWaitsForIt() {
        bench.ready()
        bench.send("Hi")
        awaitLog("reply 0: Hi")
        runBlocking { bench.act { unload() }.join() }
        assertEquals(listOf("open m.task GPU", "reply 0: Hi", "ended 0", "closed 0"), bench.log)
        assertEquals(Phase.NO_MODEL, bench.state.phase)
    }

    @Test fun loadingTwiceAtOnceLosesNoEngine() {
        repeat(5) { bench.act { load(bench.request("$it.task")) } }
        runBlocking { bench.act { unload() }.join() }
        assertEquals(bench.engines.size, bench.log.count { it.startsWith("closed") })
    }

    @Test fun aBundleThatWasReplacedWhileItLoadedIsNeverReady() {
        val opened = Semaphore(0)
        bench.failures = {
            opened.acquire()
            null
        }
        repeat(3) { number ->
            bench.act { load(bench.request("$number.task")) }
            awaitLog("open 0.task GPU")
        }
        repeat(9) { bench.act { } } // what is queued on the main thread runs first
        opened.release()
        awaitLog("open 2.task GPU")
        assertEquals("2.task", bench.act { state.value.loading })
        opened.release()
        bench.await { it.phase == Phase.READY && it.model?.name == "2.task" }
        assertEquals(listOf("open 0.task GPU", "closed 0", "open 2.task GPU"), bench.log)
    }

    @Test fun anEngineThatIsStuckIsSaidWhenItIsFreed() {
        val model = bench.ready()
        model.closeFailure = EngineStuckException()
        runBlocking { bench.act { unload() }.join() }
        assertContains(bench.state.problem.orEmpty(), "did not stop in time")
        bench.ready()
    }

    @Test fun nothingIsSentWhileTheEngineForgets() {
        val model = bench.ready()
        answer(model, "Hi", "Hello")
        val allowed = Semaphore(0)
        model.beforeReset = allowed::acquire
        bench.act {
            newChat()
            edit("Ho")
            send()
            stop()
        }
        allowed.release()
        val state = bench.await { it.phase == Phase.READY }
        assertEquals(emptyList(), state.messages)
        assertEquals("Ho", state.draft)
        answer(model, "Ho", "Hello")
    }

    @Test fun whatIsTypedSinceSendStays() {
        bench.ready()
        bench.act {
            edit("Hi")
            send()
            edit("Hi again")
        }
        assertEquals("Hi again", bench.await { it.messages.size == 2 }.draft)
    }

    @Test fun nothingIsSentTwiceOrEmpty() {
        val model = bench.ready()
        bench.send("   ")
        assertEquals(Phase.READY, bench.state.phase)
        bench.send("Hi")
        bench.send("Ho")
        model.pieces.trySend(null)
        bench.await { it.phase == Phase.READY && it.messages.size == 2 }
        assertEquals(1, bench.log.count { it.startsWith("reply") })
    }

    private fun answer(model: FakeModel, prompt: String, text: String) {
        bench.send(prompt)
        bench.await { it.replying }
        model.pieces.trySend(text)
        model.pieces.trySend(null)
        assertEquals(text, bench.await { it.phase == Phase.READY }.messages.last().text)
    }

    private fun awaitLog(line: String) {
        val end = System.nanoTime() + 20_000_000_000L
        while (line !in bench.log) check(System.nanoTime() < end) { bench.log.toString() }.also { Thread.sleep(2) }
    }
}
