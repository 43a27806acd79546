"""Puts the stored entries of an APK on multiples of 4 bytes, as Android's zipalign does.

usage: align_apk.py IN.apk OUT.apk
"""

import sys
import zipfile

_LOCAL_HEADER_BYTES = 30
_ALIGNMENT = 4


def main(source: str, output: str) -> None:
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(output, "w") as new:
        for entry in old.infolist():
            made = zipfile.ZipInfo(entry.filename, entry.date_time)
            made.compress_type = entry.compress_type
            if made.compress_type == zipfile.ZIP_STORED:
                start = new.start_dir + _LOCAL_HEADER_BYTES + len(entry.filename.encode())
                made.extra = bytes(-start % _ALIGNMENT)
            new.writestr(made, old.read(entry))


if __name__ == "__main__":
    main(*sys.argv[1:])
