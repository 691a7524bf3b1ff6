# SPDX-License-Identifier: Apache-2.0
"""The short form of `make soak`: twenty seconds in which everything comes and goes.

A leak is seen here when it is large: `make soak` sees those of 3 KB a second.
"""

import soak

#: All of it is warm-up, in which tables are filled: 2 MiB in the second half.  What leaves
#: 1 KB of each event behind is above it.
SHORT_GROWTH_MIB = 6.0


def test_nothing_grows_and_nothing_is_missing():
    plan = soak.Plan(
        20, rate=250, workers=2, kill_s=3.0, growth_mib=SHORT_GROWTH_MIB, cpu_growth=None
    )
    outcome = soak.measure(plan)
    assert outcome.problems == []
    figures = outcome.figures
    assert figures["workers_replaced"] >= 1
    assert figures["certain"] >= 1000
    assert len(outcome.samples) >= 20
    assert figures["threads"] == [1]
