package com.example.taskpress.ui

import androidx.compose.foundation.background
import androidx.compose.foundation.layout.Box
import androidx.compose.foundation.layout.Row
import androidx.compose.foundation.layout.fillMaxWidth
import androidx.compose.foundation.layout.heightIn
import androidx.compose.foundation.layout.padding
import androidx.compose.foundation.layout.widthIn
import androidx.compose.foundation.shape.RoundedCornerShape
import androidx.compose.foundation.text.BasicTextField
import androidx.compose.material3.FilledIconButton
import androidx.compose.material3.Icon
import androidx.compose.material3.MaterialTheme
import androidx.compose.material3.Text
import androidx.compose.runtime.Composable
import androidx.compose.ui.Alignment
import androidx.compose.ui.Modifier
import androidx.compose.ui.graphics.SolidColor
import androidx.compose.ui.unit.dp
import com.example.taskpress.chat.ChatState
import com.example.taskpress.chat.Phase

internal val ContentWidth = 720.dp

/** What is typed stays while a reply runs; only sending waits. */
@Composable
internal fun ComposerRow(chat: ChatState, actions: AppActions) {
    Row(
        Modifier.widthIn(max = ContentWidth).fillMaxWidth().padding(horizontal = 12.dp, vertical = 8.dp),
        verticalAlignment = Alignment.Bottom,
    ) {
        Draft(chat.draft, actions::edit, Modifier.weight(1f).padding(end = 8.dp))
        if (chat.replying) {
            FilledIconButton(onClick = actions::stop, enabled = chat.canStop) {
                Icon(Icons.Stop, if (chat.phase == Phase.STOPPING) "Stopping" else "Stop")
            }
        } else {
            FilledIconButton(onClick = actions::send, enabled = chat.canSend) { Icon(Icons.Send, "Send") }
        }
    }
}

@Composable
private fun Draft(text: String, onChange: (String) -> Unit, modifier: Modifier) {
    val colors = MaterialTheme.colorScheme
    val style = MaterialTheme.typography.bodyLarge.copy(color = colors.onSurface)
    BasicTextField(
        value = text,
        onValueChange = onChange,
        modifier = modifier,
        textStyle = style,
        maxLines = 5,
        cursorBrush = SolidColor(colors.primary),
        decorationBox = { field ->
            Box(
                Modifier.heightIn(
                    min = 48.dp,
                ).background(colors.surface, RoundedCornerShape(24.dp)).padding(horizontal = 16.dp, vertical = 12.dp),
                contentAlignment = Alignment.CenterStart,
            ) {
                if (text.isEmpty()) Text("Message", style = style, color = colors.onSurfaceVariant)
                field()
            }
        },
    )
}
