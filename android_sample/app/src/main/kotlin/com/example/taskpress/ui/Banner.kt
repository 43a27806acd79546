package com.example.taskpress.ui

import androidx.compose.foundation.layout.Row
import androidx.compose.foundation.layout.fillMaxWidth
import androidx.compose.foundation.layout.padding
import androidx.compose.material3.ButtonDefaults
import androidx.compose.material3.LocalContentColor
import androidx.compose.material3.MaterialTheme
import androidx.compose.material3.Surface
import androidx.compose.material3.Text
import androidx.compose.material3.TextButton
import androidx.compose.runtime.Composable
import androidx.compose.ui.Alignment
import androidx.compose.ui.Modifier
import androidx.compose.ui.graphics.RectangleShape
import androidx.compose.ui.graphics.Shape
import androidx.compose.ui.unit.dp

internal enum class Tone { NOTE, ERROR }

/** A sentence across the screen: what went wrong, or what is not as it was asked for. */
@Composable
internal fun Banner(text: String, tone: Tone, onDismiss: (() -> Unit)?, shape: Shape = RectangleShape) {
    val colors = MaterialTheme.colorScheme
    Surface(
        shape = shape,
        color = if (tone == Tone.ERROR) colors.errorContainer else colors.tertiaryContainer,
        contentColor = if (tone == Tone.ERROR) colors.onErrorContainer else colors.onTertiaryContainer,
    ) {
        Row(Modifier.fillMaxWidth().padding(start = 16.dp, end = 4.dp), verticalAlignment = Alignment.CenterVertically) {
            Text(text, Modifier.weight(1f).padding(vertical = 10.dp), style = MaterialTheme.typography.bodyMedium)
            if (onDismiss != null) {
                val colorsOfText = ButtonDefaults.textButtonColors(contentColor = LocalContentColor.current)
                TextButton(onDismiss, colors = colorsOfText) { Text("OK") }
            }
        }
    }
}
