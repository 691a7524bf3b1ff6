# SPDX-License-Identifier: Apache-2.0
"""Shared tooling of the profiler lab: ground-truth probe, load driver, peers and runner."""
