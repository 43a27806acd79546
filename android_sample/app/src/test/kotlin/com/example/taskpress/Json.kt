package com.example.taskpress

/** Reads JSON into maps, lists, texts, numbers, booleans and null: a unit test has no reader of Android's own. */
class Json private constructor(private val text: String) {
    private var at = 0

    private fun value(): Any? = when (val letter = peek()) {
        '{' -> items('{', '}') { text().also { expect(':') } to value() }.toMap()
        '[' -> items('[', ']') { value() }
        '"' -> text()
        't' -> word("true", true)
        'f' -> word("false", false)
        'n' -> word("null", null)
        else -> if (letter == '-' || letter.isDigit()) number() else error("$letter at $at")
    }

    private fun <T> items(open: Char, close: Char, item: () -> T): List<T> = buildList {
        expect(open)
        while (peek() != close) {
            add(item())
            if (peek() == ',') at++
        }
        expect(close)
    }

    private fun text(): String = buildString {
        expect('"')
        while (text[at] != '"') {
            val letter = text[at++]
            append(if (letter == '\\') escaped() else letter)
        }
        at++
    }

    private fun escaped(): Char = when (val letter = text[at++]) {
        'n' -> '\n'
        't' -> '\t'
        'r' -> '\r'
        'b' -> '\b'
        'u' -> text.substring(at, at + 4).toInt(16).toChar().also { at += 4 }
        else -> letter
    }

    private fun number(): Number {
        val digits = text.substring(at).takeWhile { it in "+-.eE0123456789" }
        at += digits.length
        return digits.toLongOrNull() ?: digits.toDouble()
    }

    private fun <T> word(word: String, value: T): T {
        check(text.startsWith(word, at))
        at += word.length
        return value
    }

    private fun peek(): Char {
        while (text[at].isWhitespace()) at++
        return text[at]
    }

    private fun expect(letter: Char) {
        check(peek() == letter) { "$letter is not at $at" }
        at++
    }

    companion object {
        @Suppress("UNCHECKED_CAST")
        fun read(text: String): Map<String, Any?> = Json(text).value() as Map<String, Any?>
    }
}
