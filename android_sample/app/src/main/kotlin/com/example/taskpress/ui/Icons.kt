package com.example.taskpress.ui

import androidx.compose.ui.graphics.Color
import androidx.compose.ui.graphics.SolidColor
import androidx.compose.ui.graphics.vector.ImageVector
import androidx.compose.ui.graphics.vector.addPathNodes
import androidx.compose.ui.unit.dp

/** The few icons that the app has, drawn on a grid of 24; a library of icons would be the larger part of the app. */
object Icons {
    val Back = icon("Back", "M15 4 L17 6 L11 12 L17 18 L15 20 L7 12 Z")
    val NewChat = icon("NewChat", "M11 4 H13 V11 H20 V13 H13 V20 H11 V13 H4 V11 H11 Z")
    val Send = icon("Send", "M3 4 L22 12 L3 20 V14 L14 12 L3 10 Z")
    val Settings = icon(
        "Settings",
        "M3 6 H13 V4 H17 V6 H21 V8 H17 V10 H13 V8 H3 Z M3 16 H7 V14 H11 V16 H21 V18 H11 V20 H7 V18 H3 Z",
    )
    val Stop = icon("Stop", "M6 6 H18 V18 H6 Z")

    private fun icon(name: String, path: String): ImageVector =
        ImageVector.Builder(name, 24.dp, 24.dp, 24f, 24f).addPath(addPathNodes(path), fill = SolidColor(Color.Black)).build()
}
