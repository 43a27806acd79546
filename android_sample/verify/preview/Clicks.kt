package preview

import androidx.compose.runtime.getValue
import androidx.compose.runtime.mutableStateOf
import androidx.compose.runtime.setValue
import androidx.compose.runtime.snapshots.Snapshot
import androidx.compose.ui.ImageComposeScene
import androidx.compose.ui.geometry.Offset
import androidx.compose.ui.input.key.Key
import androidx.compose.ui.input.key.KeyEvent
import androidx.compose.ui.input.key.KeyEventType
import androidx.compose.ui.input.pointer.PointerEventType
import androidx.compose.ui.unit.Density
import com.example.taskpress.chat.Author
import com.example.taskpress.chat.ChatState
import com.example.taskpress.chat.LoadedModel
import com.example.taskpress.chat.MemoryQuestion
import com.example.taskpress.chat.Message
import com.example.taskpress.chat.Phase
import com.example.taskpress.chat.TokenBudget
import com.example.taskpress.llm.Backend
import com.example.taskpress.llm.LoadRequest
import com.example.taskpress.model.LibraryState
import com.example.taskpress.ui.AppActions
import com.example.taskpress.ui.AppScreen
import com.example.taskpress.ui.AppTheme
import com.example.taskpress.ui.Screen

private const val WIDTH = 360
private const val HEIGHT = 720
private const val PIXELS_PER_DP = 2f
private const val FRAME_NANOS = 16_000_000L

/** A finger and a keyboard on the real screens; places are in dp, as the screenshots show them. */
class Finger : AppActions by NoActions {
    val done = mutableListOf<String>()
    var chat by mutableStateOf(ChatState())
    var screen by mutableStateOf(Screen.CHAT)
    private var library by mutableStateOf(LibraryState())
    private var nanos = 0L
    private val scene = ImageComposeScene((WIDTH * PIXELS_PER_DP).toInt(), (HEIGHT * PIXELS_PER_DP).toInt(), Density(PIXELS_PER_DP)) {
        AppTheme(dark = false) { AppScreen(screen, chat, library, ADB_FOLDER, this) }
    }

    override fun edit(draft: String) {
        chat = chat.copy(draft = draft)
    }

    override fun send() {
        done += "send ${chat.draft}"
    }

    override fun stop() {
        done += "stop"
    }

    override fun newChat() {
        done += "new chat"
    }

    override fun pick() {
        done += "pick"
    }

    override fun want(backend: Backend) {
        chat = chat.copy(wanted = backend)
        done += "want $backend"
    }

    override fun loadAnyway() {
        done += "load anyway"
    }

    override fun dismiss() {
        done += "dismiss"
        chat = chat.copy(problem = null, memory = null)
    }

    override fun show(screen: Screen) {
        this.screen = screen
        done += "show $screen"
    }

    /** What changed reaches the screens at once, whatever thread would bring it there. */
    fun settle() = repeat(FRAMES) {
        Snapshot.sendApplyNotifications()
        scene.render(nanos)
        nanos += FRAME_NANOS
    }

    fun click(x: Int, y: Int) {
        val at = Offset(x * PIXELS_PER_DP, y * PIXELS_PER_DP)
        for (event in listOf(PointerEventType.Move, PointerEventType.Press, PointerEventType.Release)) {
            scene.sendPointerEvent(event, at, timeMillis = nanos / 1_000_000)
            settle()
        }
    }

    fun type(text: String) = text.forEach { letter ->
        val source = object : java.awt.Component() {}
        val native = java.awt.event.KeyEvent(source, java.awt.event.KeyEvent.KEY_TYPED, 0, 0, java.awt.event.KeyEvent.VK_UNDEFINED, letter)
        scene.sendKeyEvent(KeyEvent(Key.Unknown, KeyEventType.Unknown, codePoint = letter.code, nativeEvent = native))
        settle()
    }

    fun expect(what: String) {
        check(done.lastOrNull() == what) { "expected \"$what\", the app did $done" }
        println("  $what")
    }

    private companion object {
        const val FRAMES = 12
    }
}

fun main() {
    val finger = Finger()
    finger.settle()
    finger.click(180, 216)
    finger.expect("pick")
    finger.click(332, 28)
    finger.expect("show SETTINGS")
    finger.click(180, 177)
    finger.expect("want CPU")
    finger.click(28, 28)
    finger.expect("show CHAT")
    val info = SCENES.first { it.name == "streaming" }.chat.model as LoadedModel
    finger.chat = ChatState(Phase.READY, model = info, budget = TokenBudget(100), messages = listOf(Message(1, Author.USER, "Hi")))
    finger.settle()
    finger.click(324, 688)
    check(finger.done.last() == "show CHAT") { "an empty message was sent" }
    finger.click(120, 688)
    finger.type("hi there")
    finger.click(324, 688)
    finger.expect("send hi there")
    finger.click(284, 28)
    finger.expect("new chat")
    finger.chat = finger.chat.copy(phase = Phase.WRITING)
    finger.settle()
    finger.click(324, 688)
    finger.expect("stop")
    finger.click(284, 28)
    check(finger.done.last() == "stop") { "a new chat began during a reply" }
    finger.chat = finger.chat.copy(memory = MemoryQuestion(LoadRequest(java.io.File("m.task"), info.info), "Little is free"))
    finger.settle()
    finger.click(262, 412)
    finger.expect("load anyway")
}
