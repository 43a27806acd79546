package com.example.taskpress.ui

import kotlin.test.assertEquals
import org.junit.Test

class BlockTest {
    @Test fun fencesPartProseFromCode() {
        val text = "See:\n```kotlin\nval a = 1\n\nval b = 2\n```\nDone.\n"
        assertEquals(listOf(Block("See:", false), Block("val a = 1\n\nval b = 2", true), Block("Done.", false)), blocks(text))
    }

    @Test fun aFenceThatIsStillOpenIsCode() {
        assertEquals(listOf(Block("a", false), Block("b", true)), blocks("a\n```\nb"))
        assertEquals(emptyList(), blocks("```"))
        assertEquals(emptyList(), blocks(""))
    }
}
