package preview

import androidx.compose.ui.ImageComposeScene
import androidx.compose.ui.unit.Density
import com.example.taskpress.llm.Backend
import com.example.taskpress.model.StoredBundle
import com.example.taskpress.ui.AppActions
import com.example.taskpress.ui.AppScreen
import com.example.taskpress.ui.AppTheme
import com.example.taskpress.ui.Screen
import java.io.File

private const val FRAMES = 30
private const val FRAME_NANOS = 16_000_000L
private const val PIXELS_PER_DP = 1.5f

/** Draws each scene into a folder: java … preview.ShotsKt FOLDER. */
fun main(args: Array<String>) {
    val folder = File(args[0]).apply { mkdirs() }
    for (scene in SCENES) {
        val image = ImageComposeScene(
            (scene.width * PIXELS_PER_DP).toInt(),
            (scene.height * PIXELS_PER_DP).toInt(),
            Density(PIXELS_PER_DP, scene.fontScale),
        ) {
            AppTheme(scene.dark) { AppScreen(scene.screen, scene.chat, scene.library, ADB_FOLDER, NoActions) }
        }
        var frame = image.render(0)
        for (number in 1L..FRAMES) frame = image.render(number * FRAME_NANOS)
        File(folder, "${scene.name}.png").writeBytes(checkNotNull(frame.encodeToData()).bytes)
        image.close()
    }
    println("${SCENES.size} scenes drawn")
}

/** A user who does nothing. */
object NoActions : AppActions {
    override fun edit(draft: String) = Unit

    override fun send() = Unit

    override fun stop() = Unit

    override fun newChat() = Unit

    override fun want(backend: Backend) = Unit

    override fun load(bundle: StoredBundle) = Unit

    override fun loadAnyway() = Unit

    override fun loadAgain() = Unit

    override fun pick() = Unit

    override fun take(file: File) = Unit

    override fun download(address: String, sha256: String) = Unit

    override fun cancelTransfer() = Unit

    override fun delete(bundle: StoredBundle) = Unit

    override fun dismiss() = Unit

    override fun show(screen: Screen) = Unit
}
