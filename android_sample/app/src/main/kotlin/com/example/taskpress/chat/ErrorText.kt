package com.example.taskpress.chat

/** An error as a sentence for the user. What an engine throws is often an Error, and its message often a stack trace. */
fun errorText(error: Throwable): String {
    val causes = generateSequence(error) { it.cause }.take(10).toList()
    return when {
        causes.any { it is LinkageError } ->
            "The engine's native library is missing: the app has it for 64-bit ARM phones only, not for emulators"

        causes.any { it is OutOfMemoryError } -> "The phone has not enough memory for this bundle. Close other apps, or use a smaller one"

        else -> causes.firstNotNullOfOrNull { firstLine(it.message) }
            ?: "The engine failed without a reason (${error.javaClass.simpleName})"
    }
}

private const val MAX_LETTERS = 300

private fun firstLine(message: String?): String? = message?.lineSequence()?.firstOrNull { it.isNotBlank() }?.trim()?.take(MAX_LETTERS)
