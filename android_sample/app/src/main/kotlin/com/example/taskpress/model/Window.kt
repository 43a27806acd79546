package com.example.taskpress.model

import java.io.File
import java.io.RandomAccessFile
import java.nio.ByteBuffer
import java.nio.ByteOrder

/**
 * A stretch of a file, read piece by piece: bundles are larger than the memory of the app.
 *
 * Every offset is checked against [sizeBytes] before it is followed. [name] starts each message.
 */
class Window(private val file: RandomAccessFile, private val base: Long, val sizeBytes: Long, val name: String) {
    fun read(at: Long, count: Int): ByteArray {
        if (at < 0 || count < 0 || at > sizeBytes - count) {
            throw BundleException("$name is damaged: bytes $at to ${at + count} are asked for, it has $sizeBytes")
        }
        val bytes = ByteArray(count)
        file.seek(base + at)
        file.readFully(bytes)
        return bytes
    }

    /** Little-endian, as all of these formats are. */
    fun numbers(at: Long, count: Int): ByteBuffer = ByteBuffer.wrap(read(at, count)).order(ByteOrder.LITTLE_ENDIAN)

    fun u16(at: Long): Int = numbers(at, 2).short.toInt() and 0xffff

    fun i32(at: Long): Int = numbers(at, 4).int

    fun u32(at: Long): Long = i32(at).toLong() and 0xffff_ffffL

    fun i64(at: Long): Long = numbers(at, 8).long

    fun part(at: Long, count: Long, name: String): Window {
        if (at < 0 || count < 0 || at > sizeBytes - count) {
            throw BundleException("$name should lie at bytes $at to ${at + count}, but the file ends at byte $sizeBytes")
        }
        return Window(file, base + at, count, name)
    }

    companion object {
        fun <T> of(file: File, use: (Window) -> T): T = RandomAccessFile(file, "r").use { use(Window(it, 0, it.length(), file.name)) }
    }
}
