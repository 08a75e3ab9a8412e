"""Conditions in the form of networks."""

import math

import pytest
import torch

from googol.networks import ConditionCoding

NAN = math.nan
Y = torch.tensor([[2.0, 5.0, 0.0], [NAN, -1.0, 1.0], [0.0, NAN, NAN]])


def test_what_is_written_is_one_hot_standardised_and_zero_where_it_is_missing():
    coding = ConditionCoding([3, None, 2])
    coding.learn(Y.split(2))
    assert (coding.loc[1], coding.scale[1]) == (2.0, 3.0)  # those of 5 and -1
    a, b = 3**0.5, 2**0.5
    expected = [[0, 0, a, 1, b, 0], [0, 0, 0, -1, 0, b], [a, 0, 0, 0, 0, 0]]
    torch.testing.assert_close(coding.write(Y), torch.tensor(expected))
    assert coding.inputs == 6
    assert coding.write(Y.expand(5, 3, 3)).shape == (5, 3, 6)


def test_numbers_are_read_in_their_own_units():
    coding = ConditionCoding([3, None, 2])
    coding.loc[1], coding.scale[1] = 100.0, 20.0
    outputs = torch.tensor([1.0, 0.0, -1.0, 0.5, math.log(math.e - 1), 0.0, 0.0])
    assert len(outputs) == coding.outputs
    digit, number, other = coding.read(outputs).parts
    torch.testing.assert_close(digit.probs, torch.tensor([1.0, 0.0, -1.0]).softmax(0))
    torch.testing.assert_close(torch.stack([number.loc, number.scale]), torch.tensor([110.0, 20.2]))
    torch.testing.assert_close(other.probs, torch.tensor([0.5, 0.5]))


def test_a_number_without_spread_keeps_the_scale_one():
    coding = ConditionCoding([None])
    coding.learn([torch.full((4, 1), 7.0)])
    assert coding.write(torch.tensor([[8.0]])) == 1


def test_what_is_known_is_an_answer_too():
    one_hot, number, _ = ConditionCoding([3, None, 2]).answers(Y)
    assert one_hot[0].tolist() == [0, 0, 1]
    assert one_hot[1].isnan().all()
    torch.testing.assert_close(number[:, 0], Y[:, 1], equal_nan=True)


def test_the_scales_are_saved():
    coding, again = ConditionCoding([None]), ConditionCoding([None])
    coding.learn([torch.tensor([[1.0], [3.0]])])
    again.load_state_dict(coding.state_dict())
    assert (again.loc, again.scale) == (2, 1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ConditionCoding([]), r"sizes must be at least one, each None or at least 2, got \[\]"),
        (lambda: ConditionCoding([1]), r"each None or at least 2, got \[1\]"),
        (lambda: ConditionCoding([3]).write(torch.zeros(4, 2)), r"must have the shape \(…, 1\), got \(4, 2\)"),
        (
            lambda: ConditionCoding([3]).write(torch.tensor([[1.5]])),
            r"conditions\[…, 0\] must be one of 0 … 2.* got 1.5",
        ),
        (lambda: ConditionCoding([None]).write(torch.tensor([[math.inf]])), "must be finite, or NaN .* got inf"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
