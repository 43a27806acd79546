package com.example.taskpress.model

import android.content.ContentResolver
import android.net.Uri
import android.provider.OpenableColumns
import java.io.InputStream

/** A document that the user picked; [unnamed] is its name where its owner gives none. */
class DocumentSource(private val resolver: ContentResolver, private val uri: Uri, unnamed: String) : BundleSource {
    override var name: String = unnamed
        private set
    override var sizeBytes: Long? = null
        private set

    init {
        try {
            describe()
        } catch (_: RuntimeException) {
            // its owner does not describe it; whether it can be opened shows when it is
        }
    }

    private fun describe() {
        resolver.query(uri, null, null, null, null)?.use { row ->
            if (row.moveToFirst()) {
                val nameAt = row.getColumnIndex(OpenableColumns.DISPLAY_NAME)
                val sizeAt = row.getColumnIndex(OpenableColumns.SIZE)
                if (nameAt >= 0) row.getString(nameAt)?.let { name = it }
                if (sizeAt >= 0 && !row.isNull(sizeAt)) sizeBytes = row.getLong(sizeAt)
            }
        }
    }

    override fun open(): InputStream = resolver.openInputStream(uri) ?: throw BundleException("$name cannot be opened; pick it again")
}
