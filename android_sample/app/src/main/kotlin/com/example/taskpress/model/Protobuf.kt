package com.example.taskpress.model

import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.nio.CharBuffer
import java.nio.charset.CharacterCodingException

/**
 * The fields of one protobuf message, by number: enough to read the few messages of a bundle.
 *
 * As protobuf asks for, the last value of a plain field counts, and fields that nobody reads are kept by number.
 * [name] starts each message of the [BundleException] that damaged bytes raise.
 */
class Protobuf(bytes: ByteArray, private val name: String) {
    private val fields = LinkedHashMap<Int, MutableList<Any>>()

    init {
        val input = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN)
        while (input.hasRemaining()) {
            val key = varint(input)
            val number = (key ushr 3).toInt()
            if (number <= 0) damaged("field number $number")
            val value: Any = when (val wire = (key and 7).toInt()) {
                VARINT -> varint(input)
                FIXED64 -> need(input, 8).long
                BYTES -> ByteArray(length(input)).also(input::get)
                FIXED32 -> need(input, 4).int
                else -> damaged("wire type $wire in field $number")
            }
            fields.getOrPut(number) { mutableListOf() } += value
        }
    }

    /** Whether it has the field as a text or a message. */
    operator fun contains(field: Int): Boolean = ofType<ByteArray>(field).isNotEmpty()

    fun number(field: Int): Long? = ofType<Long>(field).lastOrNull()

    fun float(field: Int): Float? = ofType<Int>(field).lastOrNull()?.let(Float::fromBits)

    fun text(field: Int): String = ofType<ByteArray>(field).lastOrNull()?.let { utf8(field, it) } ?: ""

    fun texts(field: Int): List<String> = ofType<ByteArray>(field).map { utf8(field, it) }

    /** Where a message field stands twice, protobuf joins the two; joined bytes are the joined message. */
    fun message(field: Int): Protobuf? = ofType<ByteArray>(field).reduceOrNull(ByteArray::plus)?.let { Protobuf(it, "$name, field $field") }

    fun messages(field: Int): List<Protobuf> = ofType<ByteArray>(field).map { Protobuf(it, "$name, field $field") }

    /** Numbers of a repeated field, in its packed and its plain form. */
    fun allNumbers(field: Int): List<Int> = fields[field].orEmpty().flatMap { value ->
        when (value) {
            is ByteArray -> {
                val packed = ByteBuffer.wrap(value)
                buildList { while (packed.hasRemaining()) add(varint(packed).toInt()) }
            }

            is Long -> listOf(value.toInt())

            else -> emptyList()
        }
    }

    /** A parser passes over what has another wire type than it knows: one message may be meant for two readers. */
    private inline fun <reified T> ofType(field: Int): List<T> = fields[field].orEmpty().filterIsInstance<T>()

    private fun utf8(field: Int, value: ByteArray): String = try {
        val text: CharBuffer = Charsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(value))
        text.toString()
    } catch (e: CharacterCodingException) {
        throw BundleException("$name is damaged: field $field is no UTF-8 text", e)
    }

    private fun varint(input: ByteBuffer): Long {
        var value = 0L
        for (shift in 0..63 step 7) {
            if (!input.hasRemaining()) damaged("it ends inside a number")
            val byte = input.get().toLong()
            value = value or ((byte and 0x7f) shl shift)
            if (byte >= 0) return value
        }
        damaged("a number of more than 10 bytes")
    }

    private fun length(input: ByteBuffer): Int {
        val length = varint(input)
        if (length < 0 || length > input.remaining()) damaged("a field of $length bytes, ${input.remaining()} are left")
        return length.toInt()
    }

    private fun need(input: ByteBuffer, count: Int): ByteBuffer {
        if (input.remaining() < count) damaged("it ends inside a field")
        return input
    }

    private fun damaged(what: String): Nothing = throw BundleException("$name is damaged: $what")

    private companion object {
        const val VARINT = 0
        const val FIXED64 = 1
        const val BYTES = 2
        const val FIXED32 = 5
    }
}
