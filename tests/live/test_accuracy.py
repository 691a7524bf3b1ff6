# SPDX-License-Identifier: Apache-2.0
"""Forty injected blocks on each loop: none missing, none extra, in their order.

Whether their lengths are right is for `make accuracy`, on a machine at rest.
"""

import accuracy


def test_blocks_are_all_reported_in_order(loop):
    [outcome] = accuracy.measure(40, 4, [loop])
    assert outcome.problems == []
    assert len(outcome.matched) + outcome.shortened == 40
    assert outcome.shortened <= 4
