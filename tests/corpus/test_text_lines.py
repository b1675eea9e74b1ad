"""Files of lines are read in any wrapping, and no line fills the memory."""

import gzip
import tracemalloc
from collections import Counter
from pathlib import Path

import pytest

from corpus import text_lines
from corpus.errors import InputError
from corpus.text_lines import TOO_LONG, decode_line, read_json_lines, read_lines


def write(folder: Path, content: bytes, name: str = "lines.txt") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        list(read_json_lines(path))
    return str(caught.value)


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize(
    ("packed", "name"), [(False, "lines.txt"), (True, "lines.txt"), (True, "lines.txt.gz")]
)
def test_lines_are_the_same_in_any_wrapping(
    mark: bytes, end: bytes, packed: bool, name: str, tmp_path: Path
) -> None:
    content = mark + "café".encode() + end + end + "狐狸\u2028".encode()
    path = write(tmp_path, gzip.compress(content) if packed else content, name)
    lines = [(number, decode_line(line, path, number)) for number, line in read_lines(path)]
    assert lines == [(1, "café"), (2, ""), (3, "狐狸\u2028")]


def test_a_line_without_an_end_does_not_fill_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_lines, "MOST_BYTES", 2**20)
    content = b'{"a": 1}\n' + b"x" * 40 * 2**20 + b'\n{"a": 2}\n'
    path = write(tmp_path, gzip.compress(content, 1))
    aside: Counter[str] = Counter()
    tracemalloc.start()
    rows = [row for _, row in read_json_lines(path, aside)]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert rows == [{"a": 1}, {"a": 2}]
    assert aside == {TOO_LONG: 1}
    assert peak < 8 * 2**20
    assert refusal(path).startswith(f"{path}: line 2 is longer than 1 MiB; shorten it")


@pytest.mark.parametrize(("length", "kept"), [(9, True), (10, True), (11, False), (25, False)])
def test_the_bound_holds_to_the_byte(
    length: int, kept: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_lines, "MOST_BYTES", 10)
    lines = [b"a" * (length - 1), b"b"]
    for content in (b"\n".join(lines) + b"\n", b"\n".join(reversed(lines)) + b"\n"):
        read = [line for _, line in read_lines(write(tmp_path, content))]
        assert sorted(read, key=str) == sorted([lines[0] if kept else None, b"b"], key=str)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{"a": 1}\n{"a": "caf\xe9"}', r"line 2 is not JSON in UTF-8: byte 11 (0xe9) is not"),
        ('{"a": 1}'.encode("utf-16"), "is in UTF-16, not UTF-8; convert it with iconv"),
        ('{"a": 1}'.encode("utf-32"), "is in UTF-32, not UTF-8; convert it with iconv -f UTF-32"),
        (b'{"a": 1}\n[1]', "line 2 is not a JSON object"),
        (b'{"a": 1}\n{"a"', "line 2 is not JSON in UTF-8: Expecting"),
        (b"[" * 10**6, "line 1 is not JSON in UTF-8: maximum recursion depth"),
        (b'{"a": ' + b"9" * 5000 + b"}", "line 1 is not JSON in UTF-8: Exceeds the limit"),
        (gzip.compress(b'{"a": 1}', mtime=0)[:-9], "is no whole gzip file: Compressed file ended"),
    ],
)
def test_what_cannot_be_read_is_named(content: bytes, said: str, tmp_path: Path) -> None:
    path = write(tmp_path, content)
    assert refusal(path).startswith(f"{path}: {said}")


def test_a_name_that_is_no_file_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none") == f"{tmp_path / 'none'}: there is no such file"
    assert refusal(tmp_path) == f"{tmp_path}: cannot be read: Is a directory"
    text = write(tmp_path, b"text", "part.gz")
    assert refusal(text) == f"{text}: is no whole gzip file: Not a gzipped file (b'te')"


def test_what_is_no_object_is_counted_where_it_may_be(tmp_path: Path) -> None:
    aside: Counter[str] = Counter()
    path = write(tmp_path, b'[1]\n\n{"a": 1}\nnull\n' + b"[" * 10**6)
    assert list(read_json_lines(path, aside)) == [(3, {"a": 1})]
    assert aside == {"lines that are no JSON object": 3}
