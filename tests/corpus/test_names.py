import pytest

from corpus.errors import InputError
from corpus.names import MOST_BYTES, check_name, check_names


@pytest.mark.parametrize(
    "name", ["famol", "first stage", "a.b-c_d", "9", "Größe", "问题", "हिन्दी", "x" * MOST_BYTES]
)
def test_plain_names_pass(name: str) -> None:
    check_name(name, "ranker")


@pytest.mark.parametrize(
    "name",
    [
        *("", " ", ".", "..", "../../escaped", "a/b", "/a", "a\\b", ".hidden", "-x", "_x", " a"),
        *("a ", "a\nb", "a\tb", "a\0b", "a\u00a0b", "a\u200bb", "\ud800", "C:a", "a*", "~"),
        *("x" * (MOST_BYTES + 1), "问" * 50),
    ],
)
def test_what_names_no_file_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="the arm name"):
        check_name(name, "arm")


@pytest.mark.parametrize("two", [("a b", "a_b"), ("A", "a"), ("é", "e\u0301")])
def test_two_names_of_one_file_are_refused(two: tuple[str, str]) -> None:
    with pytest.raises(InputError, match="become one file name"):
        check_names(two, "ranker")


def test_a_name_of_the_jobs_own_is_refused() -> None:
    with pytest.raises(InputError, match="'first stage' is the job's own; change 'first_stage'"):
        check_names(["famol", "first_stage"], "ranker", taken=["first stage"])


def test_names_of_several_files_pass() -> None:
    check_names(["a", "b", "a b", "a.b"], "ranker")
