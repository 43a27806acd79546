package com.example.taskpress.chat

import com.example.taskpress.chat.TokenBudget.Companion.MIN_REPLY_TOKENS
import kotlin.test.assertContains
import kotlin.test.assertEquals
import kotlin.test.assertFalse
import kotlin.test.assertNull
import kotlin.test.assertTrue
import org.junit.Test

class TokenBudgetTest {
    @Test fun aPromptMustLeaveRoomForAReply() {
        val budget = TokenBudget(1000, 900)
        assertNull(budget.refusal(100 - MIN_REPLY_TOKENS))
        assertContains(budget.refusal(101 - MIN_REPLY_TOKENS).orEmpty(), "has room for 100")
    }

    @Test fun anEngineThatCannotCountIsAskedAnyway() {
        assertNull(TokenBudget(1000, 900).refusal(null))
        assertContains(TokenBudget(1000, 999).refusal(null).orEmpty(), "full")
    }

    @Test fun aBundleThatDoesNotSayItsContextRefusesNothing() {
        val budget = TokenBudget(null, 1_000_000)
        assertNull(budget.refusal(1_000_000))
        assertNull(budget.leftTokens)
        assertFalse(budget.full)
    }

    @Test fun moreUsedThanThereIsIsFull() {
        assertEquals(0, TokenBudget(10, 20).leftTokens)
        assertTrue(TokenBudget(10, 20).full)
    }
}
