package preview

import com.example.taskpress.chat.Author
import com.example.taskpress.chat.ChatState
import com.example.taskpress.chat.LoadedModel
import com.example.taskpress.chat.Memory
import com.example.taskpress.chat.MemoryQuestion
import com.example.taskpress.chat.Message
import com.example.taskpress.chat.Phase
import com.example.taskpress.chat.Speed
import com.example.taskpress.chat.TokenBudget
import com.example.taskpress.chat.errorText
import com.example.taskpress.chat.memoryWarning
import com.example.taskpress.llm.Backend
import com.example.taskpress.llm.LoadRequest
import com.example.taskpress.model.BundleInfo
import com.example.taskpress.model.BundleKind
import com.example.taskpress.model.LibraryState
import com.example.taskpress.model.Progress
import com.example.taskpress.model.StoredBundle
import com.example.taskpress.model.TextFormat
import com.example.taskpress.model.Transfer
import com.example.taskpress.ui.Screen
import java.io.File

const val ADB_FOLDER = "/sdcard/Android/data/com.example.taskpress/files/bundles"

/** What is drawn: a state of the app, and the phone it is drawn on. Sizes are in dp. */
class Scene(
    val name: String,
    val chat: ChatState,
    val library: LibraryState = LIBRARY,
    val screen: Screen = Screen.CHAT,
    val dark: Boolean = false,
    val fontScale: Float = 1f,
    val width: Int = 360,
    val height: Int = 720,
)

private val FORMAT = TextFormat(
    startToken = "<|im_start|>",
    stopTokens = listOf("<|im_end|>", "<|endoftext|>"),
    userPrefix = "user\n",
    userSuffix = "<|im_end|>\n",
    modelPrefix = "<|im_start|>assistant\n",
    modelSuffix = "<|im_end|>\n<|im_start|>",
    systemPrefix = "system\n",
    systemSuffix = "<|im_end|>\n<|im_start|>",
)
private val INFO = BundleInfo(BundleKind.TASK, 142_000_000, 1280, FORMAT)
private val QWEN = BundleInfo(BundleKind.LITERTLM, 614_000_000, 4096, FORMAT)
private const val NAME = "smollm2-135m-8f3a90c41d52.task"
private val BUNDLES = listOf(
    StoredBundle(File("qwen3-0.6b-77ab10e9c3f0.litertlm"), QWEN.sizeBytes, QWEN),
    StoredBundle(File(NAME), INFO.sizeBytes, INFO),
    StoredBundle(
        File("half-0d9c2b7710aa.task"),
        71_000_000,
        null,
        "half-0d9c2b7710aa.task was cut off while it was copied; remove it and copy it again",
    ),
)
private val LIBRARY = LibraryState(BUNDLES)
private val MODEL = LoadedModel(NAME, INFO, Backend.GPU)
private val FALLEN = LoadedModel(NAME, INFO, Backend.CPU, "The GPU could not be used: no OpenCL library on this phone")

private fun chat(vararg texts: String) = texts.mapIndexed { at, text ->
    val author = if (at % 2 == 0) Author.USER else Author.MODEL
    Message(at.toLong(), author, text)
}

private val SHORT = chat(
    "What is the capital of France?",
    "The capital of France is Paris.",
    "And what is it known for?",
    "Paris is known for the Eiffel Tower, the Louvre and Notre-Dame, for its cafés along the Seine, and for",
)
private const val CODE = "Here is a function that does it 🙂:\n\n```kotlin\nfun fibonacci(count: Int): List<Long> {\n" +
    "    val numbers = mutableListOf(0L, 1L)\n    while (numbers.size < count) numbers += numbers.takeLast(2).sum()\n" +
    "    return numbers.take(count)\n}\n```\n\nIt begins with 0 and 1, and each number after them is the sum of the two before. 🚀"
private val LONG = chat(
    "Hi! 👋 Do you know Kotlin?",
    "Yes. What would you like to write?",
    "The first Fibonacci numbers, please, as a list. Make it so that it also works for a count of 0 and of 1.",
    CODE,
    "Thanks! 🎉 And which are the first ten?",
    "0, 1, 1, 2, 3, 5, 8, 13, 21 and 34.",
)
private val STREAMING = ChatState(
    Phase.WRITING,
    model = MODEL,
    messages = SHORT,
    budget = TokenBudget(1280, 61),
)
private val FINISHED = ChatState(
    Phase.READY,
    model = MODEL,
    messages = LONG,
    budget = TokenBudget(1280, 342),
    speed = Speed(412, 18.64),
)

private val LITTLE = memoryWarning(QWEN, Memory(availableBytes = 700L shl 20, thresholdBytes = 216L shl 20)).orEmpty()

val SCENES = listOf(
    Scene("first-start", ChatState(), LibraryState()),
    Scene("copying", ChatState(), LIBRARY.copy(transfer = Transfer("gemma3-1b-it-int4.task", Progress(312_000_000, 689_000_000)))),
    Scene("loading", ChatState(Phase.LOADING, loading = NAME)),
    Scene("cpu-fallback", ChatState(Phase.READY, model = FALLEN, budget = TokenBudget(1280))),
    Scene("streaming", STREAMING),
    Scene("long-chat", FINISHED),
    Scene("error", ChatState(problem = "$NAME: ${errorText(UnsatisfiedLinkError())}")),
    Scene("memory", ChatState(memory = MemoryQuestion(LoadRequest(BUNDLES[0].file, QWEN), LITTLE))),
    Scene("settings", FINISHED.copy(model = FALLEN), screen = Screen.SETTINGS, height = 1840),
    Scene("dark", FINISHED.copy(phase = Phase.WRITING, draft = "And the eleventh?"), dark = true),
    Scene("dark-settings", FINISHED, screen = Screen.SETTINGS, dark = true),
    Scene("large-font", FINISHED.copy(model = FALLEN, messages = SHORT), fontScale = 2f),
    Scene("landscape", FINISHED, width = 720, height = 360),
    Scene("context-full", FINISHED.copy(budget = TokenBudget(1280, 1276))),
)
