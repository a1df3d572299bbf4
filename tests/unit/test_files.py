"""Files are complete or absent, whatever happens while they are written."""

import json
import os
import resource
import stat
import subprocess

import numpy as np
import pandas as pd
import pytest
from writers import names, start

from headstability.errors import DamagedFile, UserError
from headstability.storage import files

# Every way of writing that this project's library modules use on a path of their own.
WAYS = {
    "bytes": "files.write_bytes(path, b'x' * 200_000)",
    "json": "files.write_json(path, {'a': 'x' * 200_000})",
    "csv": ("import pandas as pd\n    files.write_csv(path, pd.DataFrame({'a': range(50_000)}))"),
    "tokens": (
        "import tempfile\n"
        "    from headstability.text import encoding as t, tokenizers as k, corpus as c\n"
        "    text = 'some words and more of them ' * 3000\n"
        "    other = os.path.join(tempfile.mkdtemp(), 'documents')\n"
        "    c.write_documents(other, [c.Document('a', text, 'train')])\n"
        "    paths = dict.fromkeys(('train', 'held_out', 'manifest'), path)\n"
        "    paths |= {'tokenizer': other, 'documents': other}\n"
        "    folder = os.path.join(os.path.dirname(path), '.resume')\n"
        "    t.write_tokens(k.train_tokenizer([text], 257), None, paths, folder)"
    ),
}
FULL = """
from headstability.errors import UserError
path = sys.argv[1]
try:
    {way}
except UserError as error:
    print(error)
else:
    print("written")
"""


def check_full(process, path, reason):
    printed, errors = process.communicate(timeout=60)
    assert errors == ""
    growing = path.parent / ".resume/train"
    written = growing if growing.exists() else path
    assert printed.startswith(f"cannot write {written}: {reason}.\n"), printed
    assert "Free some space" in printed
    assert "run the same command again" in printed
    assert set(names(path.parent)) <= {".resume", f".{path.name}.sha256"}


@pytest.mark.parametrize("way", WAYS)
def test_a_file_larger_than_allowed(tmp_path, way):
    path = tmp_path / "x.bin"
    limited = {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))}
    process = start(FULL.format(way=WAYS[way]), path, **limited)
    check_full(process, path, "File too large")


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a file system of 128 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(folder)]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        reason = getattr(error, "stderr", None) or error
        pytest.skip(f"mounting a small tmpfs does not work here: {str(reason).strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("way", WAYS)
def test_a_full_disk(small_disk, way):
    path = small_disk / "x.bin"
    check_full(start(FULL.format(way=WAYS[way]), path), path, "No space left on device")


def test_a_full_disk_keeps_the_file_that_was_there(small_disk):
    path = small_disk / "x.bin"
    files.write_bytes(path, b"old" * 1000)
    with pytest.raises(UserError, match="No space left on device"):
        files.write_bytes(path, b"x" * 200_000)
    assert path.read_bytes() == b"old" * 1000
    assert names(small_disk) == ["x.bin"]


@pytest.mark.parametrize("inside", ["x.bin", "b/x.bin"])
def test_a_folder_that_is_a_file(tmp_path, inside):
    folder = tmp_path / "results"
    folder.write_text("a file")
    path = folder / inside
    with pytest.raises(UserError) as caught:
        files.write_bytes(path, b"x")
    assert str(caught.value).startswith(f"cannot write {path}: ")
    assert "Make its folder a directory" in str(caught.value)
    assert folder.read_text() == "a file"


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_permissions_follow_the_umask(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        with files.atomic_path(tmp_path / "x.bin") as part:
            part.write_bytes(b"x")
            part.chmod(0o600)  # as writers do that make their file anew
        assert os.umask(umask) == umask
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "x.bin").stat().st_mode) == mode


# --- formats ------------------------------------------------------------------------------


def test_csv_floats_and_missing_values(tmp_path):
    table = pd.DataFrame(
        {
            "name": ["a", "b,c", None],
            "value": [1 / 3, np.nan, 1e-12],
            "count": [1, 2, 3],
            "single": np.array([0.1, 2.0, np.nan], dtype=np.float32),
        }
    )
    path = tmp_path / "x.csv"
    files.write_csv(path, table)
    assert path.read_bytes().decode() == (
        'name,value,count,single\na,0.3333333333,1,0.1000000015\n"b,c",,2,2\n,1e-12,3,\n'
    )


def test_json_comes_back_and_is_always_the_same_text(tmp_path):
    value = {"b": [1, 2.5, None], "a": {"Grüße": "🙂\u2028"}}
    files.write_json(tmp_path / "x.json", value)
    files.write_json(tmp_path / "y.json", dict(reversed(value.items())))
    assert files.read_json(tmp_path / "x.json") == value
    assert (tmp_path / "x.json").read_bytes() == (tmp_path / "y.json").read_bytes()


# --- hashes -------------------------------------------------------------------------------

TABLE = pd.DataFrame({"weight_decay": ["0", "0.10"], "value": [0.1, 0.25], "head": [1, 2]})
VALUE = {"a": [1, 2.5, None], "b": {"c": "text", "d": True}}


def edits(data):
    """The data with one thing changed, in every way an editor or a disk would."""
    for place in range(len(data)):
        yield data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        yield data[:place]
    yield data + b"\n0.1,0.25,3\n"
    yield data.replace(b"0.25", b"0.250").replace(b"2.5", b"2.25")
    yield data.replace(b"\n", b"\r\n").replace(b"text", b"Text")


def check_damaged(read, path, edited):
    path.write_bytes(edited)
    before = names(path.parent)
    with pytest.raises(DamagedFile) as caught:
        read(path)
    assert caught.value.path == path
    assert str(caught.value) == f"{path} is damaged: {caught.value.reason}"
    assert path.read_bytes() == edited
    assert names(path.parent) == before


def test_any_edit_of_a_table_is_noticed(tmp_path):
    path = tmp_path / "x.csv"
    files.write_csv(path, TABLE)
    pd.testing.assert_frame_equal(files.read_csv(path), TABLE)
    for edited in edits(path.read_bytes()):
        check_damaged(files.read_csv, path, edited)


def test_any_edit_of_the_content_of_json_is_noticed(tmp_path):
    """All but the spaces between: they mean nothing."""
    path = tmp_path / "x.json"
    files.write_json(path, VALUE)
    whole = path.read_bytes()
    noticed = 0
    for edited in edits(whole):
        if b"".join(edited.split()) != b"".join(whole.split()):
            check_damaged(files.read_json, path, edited)
            noticed += 1
    assert noticed > 200
    path.write_bytes(whole)
    assert files.read_json(path) == VALUE


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"3", b"null", b"{}", b"\0" * 20, b'{"a": "\xff"}']
)
def test_json_of_others_is_refused(tmp_path, content):
    check_damaged(files.read_json, tmp_path / "x.json", content)


@pytest.mark.parametrize("content", [None, b"", b"\n", b"\xff\xfe", b"0" * 64 + b"  x.csv\n"])
def test_a_table_without_its_hash_is_refused(tmp_path, content):
    path = tmp_path / "x.csv"
    files.write_csv(path, TABLE)
    if content is None:
        files.sidecar(path).unlink()
    else:
        files.sidecar(path).write_bytes(content)
    check_damaged(files.read_csv, path, path.read_bytes())


def test_sha256sum_accepts_the_hash_beside_a_table(tmp_path):
    path = tmp_path / "x.csv"
    files.write_csv(path, TABLE)
    assert names(tmp_path) == [".x.csv.sha256", "x.csv"]
    command = ["sha256sum", "--check", "--strict", ".x.csv.sha256"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "x.csv: OK\n")
    path.write_bytes(path.read_bytes()[:-2])
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode == 1


def test_json_is_json_with_its_hash(tmp_path):
    files.write_json(tmp_path / "x.json", VALUE)
    text = (tmp_path / "x.json").read_text()
    content = json.loads(text)
    assert len(content.pop("content_sha256")) == 64
    assert content == VALUE
    assert text.endswith("}\n")


@pytest.mark.parametrize("read", [files.read_json, files.read_csv])
def test_missing_files_are_not_damaged(tmp_path, read):
    with pytest.raises(UserError, match="x is missing: run the same command again") as caught:
        read(tmp_path / "x")
    assert not isinstance(caught.value, DamagedFile)


def test_a_damaged_file_is_set_aside(tmp_path):
    path = tmp_path / "x.bin"
    for content in (b"first", b"second"):
        path.write_bytes(content)
        message = files.set_aside(DamagedFile(path, "it is short"))
        assert message.startswith(f"{path} is damaged: it is short.\n")
        assert "set aside as x.bin.damaged" in message
        assert "run the same command again" in message
        assert names(tmp_path) == ["x.bin.damaged"]
        assert (tmp_path / "x.bin.damaged").read_bytes() == content


def test_a_damaged_file_that_cannot_be_set_aside(tmp_path):
    path = tmp_path / "x.bin"
    path.write_bytes(b"short")
    path.with_name("x.bin.damaged").mkdir()
    message = files.set_aside(DamagedFile(path, "it is short"))
    assert message.startswith(f"{path} is damaged: it is short.\n")
    assert "could not be set aside (Is a directory)" in message
    assert "delete it and run the same command again" in message
    assert path.read_bytes() == b"short"


def test_sha256_of_a_file(tmp_path):
    (tmp_path / "x").write_bytes(b"abc")
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert files.sha256_file(tmp_path / "x") == expected
