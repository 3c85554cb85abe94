"""Which lab a word means."""

import pytest

from demuxlab import course


@pytest.mark.parametrize("word", ["4", "04", "04_tcp_four_tuple", "tcp_four_tuple", "04_tcp_four_tuple/"])
def test_a_lab_is_meant_by_its_number_or_its_name(word):
    assert course.find(word).name == "04_tcp_four_tuple"


@pytest.mark.parametrize("word", ["²", "٤", "0", "", "9" * 5000])
def test_a_digit_that_is_no_number_of_a_lab_is_told(word):
    # "²" is a digit that int() does not take, and of 5,000 digits it takes none.
    with pytest.raises(course.NoSuchLab):
        course.find(word)
