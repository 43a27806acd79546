package com.example.taskpress.ui

internal data class Block(val text: String, val code: Boolean)

/** A reply in paragraphs of prose and of code, by Markdown's fences; a fence that is still open is code to the end. */
internal fun blocks(text: String): List<Block> {
    val blocks = mutableListOf<Block>()
    val lines = mutableListOf<String>()
    var code = false
    fun end() {
        val block = lines.joinToString("\n").trim('\n')
        if (block.isNotBlank()) blocks += Block(block, code)
        lines.clear()
    }
    for (line in text.lines()) {
        if (line.trimStart().startsWith("```")) {
            end()
            code = !code
        } else {
            lines += line
        }
    }
    end()
    return blocks
}
