"""The measures of Baidu-ULTR that ir-measures has no definition for: DCG@k and ERR@k."""

import numpy as np
from numpy.typing import NDArray


def dcg(grades: NDArray[np.float64], depth: int) -> NDArray[np.float64]:
    """Discounted cumulative gain, not divided by the ideal one.

    DCG@k = sum over ranks r = 1..k of (2^g_r - 1) / log2(r + 1), as in Burges et al. (ICML
    2005) and in the code of Baidu-ULTR (Zou et al., NeurIPS 2022; `metrics.py`, `get_dcg`). A query
    with more relevant documents has a larger one. trec_eval's nDCG takes the grade itself as gain.

    Args:
        grades: of the documents from the first rank on, at least 0, shape (..., ranks); 0 where
            nothing is ranked.
        depth: k.

    Returns:
        At least 0, shape (...).

    >>> dcg(np.array([3.0, 0.0, 1.0]), 10).item()
    7.5
    """
    gains = np.exp2(grades[..., :depth]) - 1
    return gains @ (1 / np.log2(np.arange(gains.shape[-1]) + 2))


def err(grades: NDArray[np.float64], depth: int, highest: int = 4) -> NDArray[np.float64]:
    """Expected reciprocal rank of the document that ends the search.

    ERR@k = sum over ranks r = 1..k of 1 / r * R_r * product over i < r of (1 - R_i), with
    R = (2^g - 1) / 2^highest the chance that a document of grade g satisfies (Chapelle et al., CIKM
    2009). With highest = 4 it is that of Baidu-ULTR (`metrics.py`, `get_err_k`) and of TREC's
    gdeval. Baidu-ULTR leaves out lists of fewer than k documents; here they end earlier.

    Args:
        grades: as `dcg` takes them.
        depth: k.
        highest: the highest grade of the scale, at least that of any document.

    Returns:
        In [0, 1), shape (...).

    >>> err(np.array([0.0, 4.0]), 10).item()
    0.46875
    """
    satisfied = (np.exp2(grades[..., :depth]) - 1) / 2.0**highest
    going_on = np.cumprod(1 - satisfied, axis=-1)
    reached = np.concatenate([np.ones_like(going_on[..., :1]), going_on[..., :-1]], axis=-1)
    return (reached * satisfied) @ (1 / np.arange(1, satisfied.shape[-1] + 1))
