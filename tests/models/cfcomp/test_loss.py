from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from models.cfcomp.loss import Prediction, cf_comp_loss, local_weights, min_snr_weights


def test_weights_by_hand() -> None:
    """A mask of 8 x 8 on 4 x 4 cells: one cell three quarters full; 255 and 0 are no foreground."""
    mask = torch.zeros(1, 8, 8, dtype=torch.uint8)
    mask[0, 0, 0:2] = 25
    mask[0, 1, 0] = 8
    mask[0, 6:8, 6:8] = 255
    weights = local_weights(mask, (4, 4))
    assert weights.shape == (1, 1, 4, 4)
    assert weights[0, 0].tolist() == [
        [0.75, 0.75, 0, 0],
        [0.75, 0.75, 0, 0],
        [0, 0, 0, 0],
        [0, 0, 0, 0],
    ]


def naive_weights(mask: np.ndarray, rows: int, columns: int) -> np.ndarray:
    height, width = mask.shape[0] // rows, mask.shape[1] // columns
    pooled = np.zeros((rows, columns))
    for r in range(rows):
        for c in range(columns):
            cell = mask[r * height : (r + 1) * height, c * width : (c + 1) * width]
            pooled[r, c] = np.isin(cell, [0, 255], invert=True).mean()
    out = np.zeros((rows, columns))
    for r in range(rows):
        for c in range(columns):
            out[r, c] = pooled[max(0, r - 1) : r + 2, max(0, c - 1) : c + 2].max()
    return out


def test_weights_are_those_of_loops() -> None:
    masks = (
        np.random.default_rng(0)
        .choice([0, 255, 4, 66], (3, 24, 16), p=[0.6, 0.3, 0.05, 0.05])
        .astype(np.uint8)
    )
    found = local_weights(torch.from_numpy(masks), (6, 4)).numpy()
    for mask, weights in zip(masks, found[:, 0], strict=True):
        np.testing.assert_allclose(weights, naive_weights(mask, 6, 4), atol=1e-6)


def test_sizes_must_divide() -> None:
    with pytest.raises(ValueError, match="20x20"):
        local_weights(torch.zeros(1, 20, 20, dtype=torch.uint8), (8, 8))


def naive_loss(error: np.ndarray, weights: np.ndarray, factor: float) -> tuple[float, float, float]:
    per_pixel = error.mean(axis=1)
    local = [
        (w[0] * e).sum() / w.sum() if w.sum() > 0 else 0.0 for e, w in zip(per_pixel, weights, strict=True)
    ]
    whole = per_pixel.mean()
    return whole + factor * float(np.mean(local)), float(whole), float(np.mean(local))


@pytest.mark.parametrize("factor", [0.0, 0.5, 2.0])
def test_loss_is_that_of_the_formula(factor: float) -> None:
    rng = np.random.default_rng(1)
    error = rng.random((3, 4, 5, 6)).astype(np.float32)
    weights = rng.random((3, 1, 5, 6)).astype(np.float32)
    weights[1] = 0
    found = cf_comp_loss(torch.from_numpy(error), torch.from_numpy(weights), local_weight=factor)
    np.testing.assert_allclose([float(part) for part in found], naive_loss(error, weights, factor), rtol=1e-5)


def test_loss_by_hand() -> None:
    """Four latent pixels with errors 1, 2, 3, 6 of which the last is foreground: 3 + 2 * 6."""
    error = torch.tensor([[[[1.0, 2.0], [3.0, 6.0]]]])
    weights = torch.tensor([[[[0.0, 0.0], [0.0, 0.5]]]])
    total, whole, local = cf_comp_loss(error, weights, local_weight=2.0)
    assert (float(total), float(whole), float(local)) == (15.0, 3.0, 6.0)


def test_a_sample_without_foreground_has_no_local_loss_and_a_finite_gradient() -> None:
    error = torch.ones(2, 1, 2, 2, requires_grad=True)
    loss = cf_comp_loss(error, torch.zeros(2, 1, 2, 2))
    assert float(loss.local.detach()) == 0
    loss.total.backward()
    assert error.grad is not None
    assert error.grad.tolist() == torch.full((2, 1, 2, 2), 1 / 8).tolist()


def test_halves_of_a_batch_average_to_the_batch() -> None:
    error, weights = torch.rand(4, 3, 4, 4), torch.rand(4, 1, 4, 4)
    weights[2] = 0
    whole = cf_comp_loss(error, weights)
    halves = [cf_comp_loss(error[k : k + 2], weights[k : k + 2]) for k in (0, 2)]
    for part in range(3):
        assert float(whole[part]) == pytest.approx(float(halves[0][part] + halves[1][part]) / 2, rel=1e-5)


def test_half_precision_errors_are_summed_in_float32() -> None:
    loss = cf_comp_loss(torch.full((1, 4, 64, 64), 200.0, dtype=torch.float16), torch.ones(1, 1, 64, 64))
    assert float(loss.total) == pytest.approx(400.0)  # the sum of 16,384 times 200 is beyond float16


def test_more_local_weight_pulls_the_gradient_to_the_foreground() -> None:
    weights = torch.zeros(1, 1, 4, 4)
    weights[..., 0, 0] = 1
    shares = []
    for factor in (0.0, 1.0):
        error = torch.ones(1, 1, 4, 4, requires_grad=True)
        cf_comp_loss(error, weights, local_weight=factor).total.backward()
        assert error.grad is not None
        shares.append(float(error.grad[..., 0, 0] / error.grad.sum()))
    assert shares == [pytest.approx(1 / 16), pytest.approx((1 / 16 + 1) / 2)]


@pytest.mark.parametrize("prediction", list(Prediction))
def test_min_snr_is_that_of_the_paper(prediction: Prediction) -> None:
    alphas = torch.linspace(0.999, 0.001, 50)
    times = torch.tensor([0, 3, 25, 49])
    found = min_snr_weights(alphas, times, gamma=5.0, prediction=prediction)
    for time, weight in zip(times.tolist(), found.tolist(), strict=True):
        alpha = float(alphas[time])
        snr = alpha / (1 - alpha)
        divisor = snr if prediction is Prediction.EPSILON else snr + 1
        assert weight == pytest.approx(min(snr, 5.0) / divisor, rel=1e-4)


def test_min_snr_at_the_ends_of_the_schedule() -> None:
    ends, times = torch.tensor([1.0, 0.0]), torch.tensor([0, 1])
    assert min_snr_weights(ends, times, gamma=5.0).tolist() == [0.0, 1.0]
    assert min_snr_weights(ends, times, gamma=5.0, prediction=Prediction.VELOCITY).tolist() == [0.0, 0.0]
    assert all(math.isfinite(weight) for weight in min_snr_weights(ends, times, gamma=1e-9).tolist())
