package com.example.taskpress.ui

import androidx.compose.foundation.isSystemInDarkTheme
import androidx.compose.material3.MaterialTheme
import androidx.compose.material3.darkColorScheme
import androidx.compose.material3.lightColorScheme
import androidx.compose.runtime.Composable
import androidx.compose.ui.graphics.Color

// the pairs that carry text have a contrast of 4.5 : 1 or more
private val Light = lightColorScheme(
    primary = Color(0xFF00639B),
    onPrimary = Color.White,
    primaryContainer = Color(0xFFCEE5FF),
    onPrimaryContainer = Color(0xFF001D33),
    secondaryContainer = Color(0xFFDCE5EE),
    onSecondaryContainer = Color(0xFF16212B),
    tertiaryContainer = Color(0xFFFFE7B8),
    onTertiaryContainer = Color(0xFF3A2A00),
    background = Color(0xFFFAFCFF),
    onBackground = Color(0xFF191C20),
    surface = Color(0xFFFAFCFF),
    onSurface = Color(0xFF191C20),
    surfaceVariant = Color(0xFFE4E9F0),
    onSurfaceVariant = Color(0xFF42474E),
    surfaceContainerHigh = Color(0xFFF1F5FA),
    surfaceContainerHighest = Color(0xFFE9EEF5),
    outlineVariant = Color(0xFFC2C7CF),
    outline = Color(0xFF72777F),
)

private val Dark = darkColorScheme(
    primary = Color(0xFF96CBFF),
    onPrimary = Color(0xFF003353),
    primaryContainer = Color(0xFF004A76),
    onPrimaryContainer = Color(0xFFCEE5FF),
    secondaryContainer = Color(0xFF2E3740),
    onSecondaryContainer = Color(0xFFDCE5EE),
    tertiaryContainer = Color(0xFF54420F),
    onTertiaryContainer = Color(0xFFFFE7B8),
    background = Color(0xFF101418),
    onBackground = Color(0xFFE1E2E8),
    surface = Color(0xFF101418),
    onSurface = Color(0xFFE1E2E8),
    surfaceVariant = Color(0xFF262C33),
    onSurfaceVariant = Color(0xFFC2C7CF),
    surfaceContainerHigh = Color(0xFF262C33),
    surfaceContainerHighest = Color(0xFF22282F),
    outlineVariant = Color(0xFF42474E),
    outline = Color(0xFF8C9199),
)

@Composable
fun AppTheme(dark: Boolean = isSystemInDarkTheme(), content: @Composable () -> Unit) =
    MaterialTheme(colorScheme = if (dark) Dark else Light, content = content)
